package main

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(namespace, app, address string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: app, Labels: map[string]string{"app": app}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8000, Protocol: corev1.ProtocolTCP}},
		}}},
		Status: corev1.PodStatus{PodIP: address, Phase: corev1.PodRunning},
	}
}

func app(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func world(policies ...networkingv1.NetworkPolicySpec) snapshot {
	now := snapshot{
		pods: []*corev1.Pod{
			pod("shop", "engine", "10.0.0.1"), pod("shop", "router", "10.0.0.2"), pod("other", "router", "10.0.0.3"),
		},
		namespaces: map[string]labels.Set{"shop": {"team": "a"}, "other": {"team": "b"}},
	}
	for _, spec := range policies {
		policy := networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: spec}
		now.policies = append(now.policies, &policy)
	}
	return now
}

func TestAllowed(t *testing.T) {
	named, number, last := intstr.FromString("http"), intstr.FromInt32(80), int32(90)
	udp := corev1.ProtocolUDP
	in := func(rules ...networkingv1.NetworkPolicyIngressRule) networkingv1.NetworkPolicySpec {
		types := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		return networkingv1.NetworkPolicySpec{PodSelector: *app("engine"), PolicyTypes: types, Ingress: rules}
	}
	out := func(rules ...networkingv1.NetworkPolicyEgressRule) networkingv1.NetworkPolicySpec {
		types := []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
		return networkingv1.NetworkPolicySpec{PodSelector: *app("engine"), PolicyTypes: types, Egress: rules}
	}
	type peers = []networkingv1.NetworkPolicyPeer
	type ports = []networkingv1.NetworkPolicyPort
	for name, test := range map[string]struct {
		spec networkingv1.NetworkPolicySpec
		way  direction
		want []string
	}{
		"nothing":           {in(), ingress, nil},
		"everything":        {in(networkingv1.NetworkPolicyIngressRule{}), ingress, []string{""}},
		"own namespace":     {in(networkingv1.NetworkPolicyIngressRule{From: peers{{PodSelector: app("router")}}}), ingress, []string{"ip saddr 10.0.0.2"}},
		"own port by name":  {in(networkingv1.NetworkPolicyIngressRule{Ports: ports{{Port: &named}}}), ingress, []string{"tcp dport 8000"}},
		"range and udp":     {in(networkingv1.NetworkPolicyIngressRule{Ports: ports{{Port: &number, EndPort: &last}, {Protocol: &udp}}}), ingress, []string{"meta l4proto udp", "tcp dport 80-90"}},
		"another namespace": {out(networkingv1.NetworkPolicyEgressRule{To: peers{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}}}}), egress, []string{"ip daddr 10.0.0.3"}},
		"peer's named port": {out(networkingv1.NetworkPolicyEgressRule{To: peers{{PodSelector: app("router")}}, Ports: ports{{Port: &named}}}), egress, []string{"ip daddr 10.0.0.2 tcp dport 8000"}},
		"block less a part": {out(networkingv1.NetworkPolicyEgressRule{To: peers{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}}}}), egress, []string{"ip daddr 10.0.0.0/8 ip daddr != { 10.1.0.0/16 }"}},
	} {
		t.Run(name, func(t *testing.T) {
			now := world(test.spec)
			got, isolated := now.allowed(now.pods[0], test.way)
			if !isolated || !slices.Equal(got, test.want) {
				t.Errorf("isolated %v, allowed %q, want %q", isolated, got, test.want)
			}
			if _, isolated := now.allowed(now.pods[1], test.way); isolated {
				t.Error("the policy isolates a pod that it does not select")
			}
		})
	}
}

func TestCompileDoesNotDependOnTheOrderOfObjects(t *testing.T) {
	types := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	now := world(networkingv1.NetworkPolicySpec{PolicyTypes: types})
	table := compile(now)
	slices.Reverse(now.pods)
	if compile(now) != table {
		t.Error("the same objects in another order make another table")
	}
	if !strings.Contains(table, `counter drop comment "shop/engine"`) || strings.Contains(table, "10.0.0.3") {
		t.Errorf("not exactly the pods of the policy's namespace are isolated:\n%s", table)
	}
}
