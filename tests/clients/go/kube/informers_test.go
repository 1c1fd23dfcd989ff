package kube

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	clientfeatures "k8s.io/client-go/features"
	featurestesting "k8s.io/client-go/features/testing"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
)

func makeMap(t *testing.T, client kubernetes.Interface, ns, name string) *corev1.ConfigMap {
	t.Helper()
	meta := metav1.ObjectMeta{Name: name, Labels: map[string]string{"tests": "informers"}}
	made, err := client.CoreV1().ConfigMaps(ns).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
	ok(t, err)
	return made
}

// ways are informers that begin by a list, and those that begin by a watch.
var ways = map[string]bool{"List": false, "WatchList": true}

// An informer shows what was there and what comes, changes and goes.
func TestInformers(t *testing.T) {
	for name, streams := range ways {
		t.Run(name, func(t *testing.T) { informs(t, streams) })
	}
}

func informs(t *testing.T, streams bool) {
	featurestesting.SetFeatureDuringTest(t, clientfeatures.WatchListClient, streams)
	config := config(t)
	seen := recorded(config)
	client := clientset(t, config)
	ns := namespace(t, client)
	makeMap(t, client, ns, "before")

	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ns))
	dynamics := dynamicinformer.NewFilteredDynamicSharedInformerFactory(dynamic.NewForConfigOrDie(config), 0, ns,
		func(options *metav1.ListOptions) { options.LabelSelector = "tests=informers" })
	maps := factory.Core().V1().ConfigMaps().Lister().ConfigMaps(ns)
	accounts := factory.Core().V1().ServiceAccounts().Lister().ServiceAccounts(ns)
	roles := factory.Rbac().V1().ClusterRoles().Lister()
	generic := dynamics.ForResource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Lister()
	factory.Start(t.Context().Done())
	dynamics.Start(t.Context().Done())
	for kind, synced := range factory.WaitForCacheSync(t.Context().Done()) {
		must(t, synced, "%v in the cache", kind)
	}
	dynamics.WaitForCacheSync(t.Context().Done())
	must(t, seen.asked("sendInitialEvents=true") == streams, "a watch begins: %v", streams)
	_, err := maps.Get("before")
	ok(t, err)
	_, err = accounts.Get("default")
	ok(t, err)
	_, err = roles.Get("cluster-admin")
	ok(t, err)

	made := makeMap(t, client, ns, "after")
	until(t, "a new object", func(context.Context) bool { _, err := generic.ByNamespace(ns).Get("after"); return err == nil })
	made.Data = map[string]string{"a": "b"}
	_, err = client.CoreV1().ConfigMaps(ns).Update(t.Context(), made, metav1.UpdateOptions{})
	ok(t, err)
	until(t, "a change", func(context.Context) bool {
		found, err := maps.Get("after")
		return err == nil && found.Data["a"] == "b"
	})
	ok(t, client.CoreV1().ConfigMaps(ns).Delete(t.Context(), "after", metav1.DeleteOptions{}))
	until(t, "an end", func(context.Context) bool { _, err := maps.Get("after"); return err != nil })
}

// A list comes in pages, by selectors, and an informer that pages has it whole.
func TestPages(t *testing.T) {
	client, ctx := clientset(t, config(t)), t.Context()
	ns := namespace(t, client)
	for number := range 25 {
		makeMap(t, client, ns, fmt.Sprintf("m%02d", number))
	}
	maps := client.CoreV1().ConfigMaps(ns)
	pages := 0
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		pages++
		return maps.List(ctx, options)
	})
	list.PageSize = 10
	var names []string
	options := metav1.ListOptions{LabelSelector: "tests in (informers),!other", FieldSelector: "metadata.name!=m03"}
	ok(t, list.EachListItem(ctx, options, func(object runtime.Object) error {
		names = append(names, object.(*corev1.ConfigMap).Name)
		return nil
	}))
	must(t, pages == 3 && len(names) == 24 && names[0] == "m00" && names[3] == "m04", "24 in 3 pages, but %d: %v", pages, names)

	first, err := maps.List(ctx, metav1.ListOptions{Limit: 10, LabelSelector: "tests"})
	ok(t, err)
	must(t, len(first.Items) == 10 && first.RemainingItemCount == nil, "a page by selector does not count the rest")
	makeMap(t, client, ns, "m99")
	second, err := maps.List(ctx, metav1.ListOptions{Limit: 100, LabelSelector: "tests", Continue: first.Continue})
	ok(t, err)
	must(t, len(second.Items) == 15, "the pages are of one moment, but %d", len(second.Items))
}

// What runs when the server has lost its data: the objects of before go, those of after come, although the versions that
// were seen are ahead of the server's. It says when it is ready, and waits for a line once there is a new server.
func TestOutlivesTheData(t *testing.T) {
	client := clientset(t, config(t))
	var all []cache.SharedIndexInformer
	for _, streams := range ways {
		featurestesting.SetFeatureDuringTest(t, clientfeatures.WatchListClient, streams)
		factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace("default"))
		informer := factory.Core().V1().ConfigMaps().Informer()
		factory.Start(t.Context().Done())
		must(t, cache.WaitForCacheSync(t.Context().Done(), informer.HasSynced), "it is in sync")
		all = append(all, informer)
	}
	last := makeMap(t, client, "default", "before")
	for number := range 200 {
		last.Data = map[string]string{"a": fmt.Sprint(number)}
		var err error
		last, err = client.CoreV1().ConfigMaps("default").Update(t.Context(), last, metav1.UpdateOptions{})
		ok(t, err)
	}
	for _, informer := range all {
		until(t, "the last version", func(context.Context) bool { return informer.LastSyncResourceVersion() == last.ResourceVersion })
	}

	fmt.Println("ready")
	must(t, bufio.NewScanner(os.Stdin).Scan(), "a new server")
	makeMap(t, client, "default", "after")
	there, err := client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	ok(t, err)
	old, err := strconv.Atoi(last.ResourceVersion)
	ok(t, err)
	for _, informer := range all {
		until(t, "only what the new server has", func(context.Context) bool {
			_, after, err := informer.GetStore().GetByKey("default/after")
			ok(t, err)
			return after && len(informer.GetStore().List()) == len(there.Items)
		})
		now, err := strconv.Atoi(informer.LastSyncResourceVersion())
		ok(t, err)
		must(t, now < old, "the versions went back, but from %d to %d", old, now)
	}
}
