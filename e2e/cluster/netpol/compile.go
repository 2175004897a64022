package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// snapshot is all that the rules depend on.
type snapshot struct {
	pods       []*corev1.Pod
	namespaces map[string]labels.Set // the labels of each namespace
	policies   []*networkingv1.NetworkPolicy
}

// direction is what differs between ingress and egress: which address of a packet is the isolated
// pod's own and which is the other side's.
type direction struct {
	kind       networkingv1.PolicyType
	prefix     string
	own, other string
}

var (
	ingress    = direction{networkingv1.PolicyTypeIngress, "to", "daddr", "saddr"}
	egress     = direction{networkingv1.PolicyTypeEgress, "from", "saddr", "daddr"}
	directions = []direction{egress, ingress}
)

// compile returns the program for nft. Each isolated pod has one chain per direction: a packet that
// one of its lines matches returns, every other is counted and dropped. A map sends packets to the
// chains by the pod's address. Packets from pod to pod or to the outside pass the hook forward, from a
// pod to the node itself the hook input; there only egress counts. What the node sends passes
// neither: probes always reach their pod, as the API demands.
//
// The text depends on the objects only, never on the order in which a cache lists them.
func compile(now snapshot) string {
	var chains []string
	verdicts := map[string][]string{} // by direction: "ADDRESS : jump CHAIN"
	for _, pod := range now.pods {
		if !hasAddress(pod) {
			continue
		}
		for _, way := range directions {
			matches, isolated := now.allowed(pod, way)
			if !isolated {
				continue
			}
			name := way.prefix + "_" + strings.ReplaceAll(pod.Status.PodIP, ".", "_")
			lines := []string{"\tchain " + name + " {"}
			for _, match := range matches {
				lines = append(lines, "\t\t"+match+" return")
			}
			lines = append(lines, fmt.Sprintf("\t\tcounter drop comment \"%s/%s\"", pod.Namespace, pod.Name), "\t}\n")
			chains = append(chains, strings.Join(lines, "\n"))
			verdicts[way.prefix] = append(verdicts[way.prefix], pod.Status.PodIP+" : jump "+name)
		}
	}
	slices.Sort(chains)
	// Declared, deleted and declared again in one transaction: it works whether or not a table is there.
	return "table ip netpol\ndelete table ip netpol\ntable ip netpol {\n" + strings.Join(chains, "") +
		hook("forward", verdicts, egress, ingress) + hook("input", verdicts, egress) + "}\n"
}

// hook returns a base chain. It comes before the filters of kube-proxy (priority 0), and lets answers
// of accepted connections pass without asking again.
func hook(name string, verdicts map[string][]string, ways ...direction) string {
	lines := []string{
		"\tchain " + name + " {",
		"\t\ttype filter hook " + name + " priority -10; policy accept;",
		"\t\tct state established,related accept",
	}
	for _, way := range ways {
		if entries := verdicts[way.prefix]; len(entries) > 0 {
			slices.Sort(entries)
			lines = append(lines, fmt.Sprintf("\t\tip %s vmap { %s }", way.own, strings.Join(entries, ", ")))
		}
	}
	return strings.Join(append(lines, "\t}\n"), "\n")
}

// allowed returns the matches of every packet that the policies let pass for one pod in one
// direction, and whether any policy isolates the pod at all.
func (now snapshot) allowed(pod *corev1.Pod, way direction) (matches []string, isolated bool) {
	for _, policy := range now.policies {
		applies := policy.Namespace == pod.Namespace && selects(&policy.Spec.PodSelector, pod.Labels)
		if !applies || !slices.Contains(policy.Spec.PolicyTypes, way.kind) {
			continue
		}
		isolated = true
		if way == ingress {
			for _, rule := range policy.Spec.Ingress {
				matches = append(matches, now.rule(policy.Namespace, way, pod, rule.From, rule.Ports)...)
			}
		} else {
			for _, rule := range policy.Spec.Egress {
				matches = append(matches, now.rule(policy.Namespace, way, nil, rule.To, rule.Ports)...)
			}
		}
	}
	slices.Sort(matches)
	return slices.Compact(matches), isolated
}

// rule returns the matches of one rule: each of its other sides with each of its ports. A port that is
// given by name has its number from the pod that the packet goes to: the isolated pod itself for
// ingress (server), each of the selected pods for egress (server is nil).
func (now snapshot) rule(
	namespace string, way direction, server *corev1.Pod,
	peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort,
) (matches []string) {
	blocks, pods := now.otherSides(namespace, way, peers)
	for _, wanted := range portsOrAny(ports) {
		if port, ok := wanted(server); ok && len(peers) == 0 {
			matches = append(matches, port) // from or to anywhere
			continue
		}
		add := func(address string, receiver *corev1.Pod) {
			if port, ok := wanted(receiver); ok {
				matches = append(matches, strings.TrimSpace(address+" "+port))
			}
		}
		for _, block := range blocks {
			add(block, server)
		}
		for _, pod := range pods {
			add("ip "+way.other+" "+pod.Status.PodIP, cmp.Or(server, pod))
		}
	}
	return matches
}

// otherSides returns the address blocks, as matches, and the pods that a list of peers means: every
// pod when there are no peers.
func (now snapshot) otherSides(
	namespace string, way direction, peers []networkingv1.NetworkPolicyPeer,
) (blocks []string, pods []*corev1.Pod) {
	for _, peer := range peers {
		if block := peer.IPBlock; block != nil && !strings.Contains(block.CIDR, ":") { // IPv4 only
			match := "ip " + way.other + " " + block.CIDR
			if len(block.Except) > 0 {
				match += " ip " + way.other + " != { " + strings.Join(block.Except, ", ") + " }"
			}
			blocks = append(blocks, match)
		}
	}
	for _, pod := range now.pods {
		means := func(peer networkingv1.NetworkPolicyPeer) bool { return now.meansPod(namespace, peer, pod) }
		if hasAddress(pod) && (len(peers) == 0 || slices.ContainsFunc(peers, means)) {
			pods = append(pods, pod)
		}
	}
	return blocks, pods
}

func (now snapshot) meansPod(namespace string, peer networkingv1.NetworkPolicyPeer, pod *corev1.Pod) bool {
	if peer.IPBlock != nil {
		return false
	}
	if peer.NamespaceSelector == nil {
		return pod.Namespace == namespace && selects(peer.PodSelector, pod.Labels)
	}
	return selects(peer.NamespaceSelector, now.namespaces[pod.Namespace]) &&
		(peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels))
}

// portMatch returns the match for packets to a port of the receiver; false when it has no such port.
type portMatch func(receiver *corev1.Pod) (match string, ok bool)

func portsOrAny(ports []networkingv1.NetworkPolicyPort) (matches []portMatch) {
	if len(ports) == 0 {
		return []portMatch{func(*corev1.Pod) (string, bool) { return "", true }}
	}
	for _, port := range ports {
		matches = append(matches, matchOf(port))
	}
	return matches
}

func matchOf(port networkingv1.NetworkPolicyPort) portMatch {
	protocol := corev1.ProtocolTCP
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	name := strings.ToLower(string(protocol))
	return func(receiver *corev1.Pod) (string, bool) {
		switch {
		case port.Port == nil:
			return "meta l4proto " + name, true
		case port.Port.Type == intstr.String:
			number, ok := namedPort(receiver, port.Port.StrVal, protocol)
			return fmt.Sprintf("%s dport %d", name, number), ok
		case port.EndPort != nil:
			return fmt.Sprintf("%s dport %d-%d", name, port.Port.IntVal, *port.EndPort), true
		}
		return fmt.Sprintf("%s dport %d", name, port.Port.IntVal), true
	}
}

func namedPort(pod *corev1.Pod, name string, protocol corev1.Protocol) (int32, bool) {
	if pod == nil {
		return 0, false
	}
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && cmp.Or(port.Protocol, corev1.ProtocolTCP) == protocol {
				return port.ContainerPort, true
			}
		}
	}
	return 0, false
}

func selects(selector *metav1.LabelSelector, set labels.Set) bool {
	compiled, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && compiled.Matches(set)
}

// hasAddress says whether a pod has an address of its own that no later pod can have got meanwhile.
func hasAddress(pod *corev1.Pod) bool {
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return pod.Status.PodIP != "" && !pod.Spec.HostNetwork && !ended
}
