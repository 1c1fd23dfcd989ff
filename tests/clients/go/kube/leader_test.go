package kube

import (
	"context"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
)

// candidate stands for election until its context ends, and then hands over; it says who leads.
func candidate(ctx context.Context, t *testing.T, client kubernetes.Interface, ns, name string, events record.EventRecorder) chan string {
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, ns, "lock", client.CoreV1(), client.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: name, EventRecorder: events})
	ok(t, err)
	leads := make(chan string, 10)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   15 * time.Second,
		RenewDeadline:   10 * time.Second,
		RetryPeriod:     200 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {},
			OnStoppedLeading: func() { close(leads) },
			OnNewLeader:      func(leader string) { leads <- leader },
		},
	})
	ok(t, err)
	go elector.Run(ctx)
	return leads
}

// One of two leads, and the other after it; who led when is told in events.
func TestLeaderElection(t *testing.T) {
	client := clientset(t, config(t))
	ns := namespace(t, client)
	broadcaster := record.NewBroadcaster()
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(ns)})
	events := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "tests"})

	first, handOver := context.WithCancel(t.Context())
	one := candidate(first, t, client, ns, "one", events)
	must(t, within(t, one) == "one", "who comes first leads")
	two := candidate(t.Context(), t, client, ns, "two", events)
	must(t, within(t, two) == "one", "who comes later sees who leads")
	holder := func(lease *coordinationv1.Lease) string { return *lease.Spec.HolderIdentity }
	lease, err := client.CoordinationV1().Leases(ns).Get(t.Context(), "lock", metav1.GetOptions{})
	ok(t, err)
	must(t, holder(lease) == "one" && !lease.Spec.RenewTime.IsZero(), "the lease is one's, but %v", lease.Spec)
	handOver()
	must(t, within(t, two) == "two", "two follows")
	lease, err = client.CoordinationV1().Leases(ns).Get(t.Context(), "lock", metav1.GetOptions{})
	ok(t, err)
	must(t, holder(lease) == "two" && *lease.Spec.LeaseTransitions == 1, "the lease is two's, but %v", lease.Spec)

	until(t, "the events", func(ctx context.Context) bool {
		found, err := client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{})
		ok(t, err)
		var told []string
		for _, event := range found.Items {
			must(t, event.InvolvedObject.UID == lease.UID, "it is about the lease, but %v", event)
			told = append(told, event.Message)
		}
		all := strings.Join(told, ", ")
		return strings.Contains(all, "one became leader") && strings.Contains(all, "two became leader")
	})
}
