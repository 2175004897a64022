// Command netpol enforces NetworkPolicy (networking.k8s.io/v1, IPv4) by nftables.
//
// The nodes of the test cluster share one network namespace, so one process sees every packet. It
// follows pods, namespaces and policies, compiles all of them into one table (see compile.go) and
// swaps that table in one transaction whenever the result differs from what is in force.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	settle = 50 * time.Millisecond // a rollout changes many objects at once: one transaction for all
	retry  = time.Second
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of the kubeconfig")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		log.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		log.Fatal(err)
	}
	gather, changed, err := follow(context.Background(), client)
	if err != nil {
		log.Fatal(err)
	}
	enforce(gather, changed)
}

// follow keeps copies of the three kinds. It returns a function that takes a snapshot of them and
// a channel that holds a value while there are changes that no snapshot has seen.
func follow(ctx context.Context, client kubernetes.Interface) (func() (snapshot, error), <-chan struct{}, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()

	changed := make(chan struct{}, 1)
	mark := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	onChange := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { mark() },
		UpdateFunc: func(_, _ any) { mark() },
		DeleteFunc: func(any) { mark() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(onChange); err != nil {
			return nil, nil, err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	mark() // an empty cluster needs its empty table, too

	gather := func() (now snapshot, err error) {
		if now.pods, err = pods.Lister().List(labels.Everything()); err != nil {
			return now, err
		}
		if now.policies, err = policies.Lister().List(labels.Everything()); err != nil {
			return now, err
		}
		var all []*corev1.Namespace
		if all, err = namespaces.Lister().List(labels.Everything()); err != nil {
			return now, err
		}
		now.namespaces = make(map[string]labels.Set, len(all))
		for _, namespace := range all {
			now.namespaces[namespace.Name] = namespace.Labels
		}
		return now, nil
	}
	return gather, changed, nil
}

// enforce brings each change into force, and again after a moment what failed.
func enforce(gather func() (snapshot, error), changed <-chan struct{}) {
	inForce := ""
	var again <-chan time.Time
	for {
		select {
		case <-changed:
		case <-again:
		}
		again = nil
		now, err := gather()
		table := compile(now)
		if err == nil && table != inForce {
			err = load(table)
		}
		if err != nil {
			log.Print(err)
			again = time.After(retry)
		} else if table != inForce {
			inForce = table
			log.Printf("in force: %d policies, %d pods", len(now.policies), len(now.pods))
		}
		time.Sleep(settle)
	}
}

func load(table string) error {
	nft := exec.Command("nft", "--file", "-")
	nft.Stdin = strings.NewReader(table)
	if output, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s\n%s", err, output, table)
	}
	return nil
}
