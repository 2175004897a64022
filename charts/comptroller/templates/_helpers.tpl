{{/* The short name. */}}
{{- define "comptroller.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of everything. */}}
{{- define "comptroller.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "comptroller.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "comptroller.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels by which the pods are found: never changed, because a Deployment's selector cannot be. */}}
{{- define "comptroller.selector" -}}
app.kubernetes.io/name: {{ include "comptroller.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "comptroller.labels" -}}
app.kubernetes.io/name: {{ include "comptroller.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: comptroller
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "comptroller.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "comptroller.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name: is required where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "comptroller.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The settings as the operator reads them: yours, with what the chart knows itself. */}}
{{- define "comptroller.settings" -}}
{{- $own := dict "defaults" (dict "operatorImage" (include "comptroller.image" .) "imagePullPolicy" .Values.image.pullPolicy) "leaderElection" (dict "leaseName" (include "comptroller.fullname" .)) -}}
{{- with .Values.router.image -}}
{{- $_ := set (get $own "defaults") "routerImage" . -}}
{{- end -}}
{{- with .Values.watchNamespaces -}}
{{- $_ := set $own "watchNamespaces" . -}}
{{- end -}}
{{- mergeOverwrite $own (deepCopy .Values.settings) | toYaml -}}
{{- end -}}

{{- define "comptroller.subject" -}}
- kind: ServiceAccount
  name: {{ include "comptroller.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
