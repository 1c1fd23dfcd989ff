package kube

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
)

// What is served is found by the aggregated documents and by those of old alike.
func TestDiscovery(t *testing.T) {
	var before string
	for _, legacy := range []bool{false, true} {
		client := discovery.NewDiscoveryClientForConfigOrDie(config(t))
		client.UseLegacyDiscovery = legacy
		version, err := client.ServerVersion()
		ok(t, err)
		must(t, strings.HasPrefix(version.GitVersion, "v1."), "a version, but %v", version)
		groups, lists, err := client.ServerGroupsAndResources()
		ok(t, err)
		found := make([]string, 0, len(lists))
		for _, list := range lists {
			for _, resource := range list.APIResources {
				found = append(found, list.GroupVersion+"/"+resource.Name+":"+strings.Join(resource.Verbs, ","))
			}
		}
		must(t, len(groups) >= 4 && len(found) > 15, "groups and resources, but %v", found)
		slices.Sort(found)
		told := strings.Join(found, "\n")
		must(t, before == "" || before == told, "both forms tell the same:\n%s\n\n%s", before, told)
		before = told
	}
}

// A mapper finds a kind by its short name, a dynamic client leads what has no Go type through its life.
func TestDynamic(t *testing.T) {
	config, ctx := config(t), t.Context()
	ns := namespace(t, clientset(t, config))
	cached := memory.NewMemCacheClient(discovery.NewDiscoveryClientForConfigOrDie(config))
	mapper := restmapper.NewShortcutExpander(restmapper.NewDeferredDiscoveryRESTMapper(cached), cached, nil)
	for short, kind := range map[string]string{"cm": "ConfigMap", "sa": "ServiceAccount", "po": "Pod", "clusterrole": "ClusterRole"} {
		found, err := mapper.KindFor(schema.GroupVersionResource{Resource: short})
		ok(t, err)
		must(t, found.Kind == kind, "%s is %s, but %v", short, kind, found)
	}
	mapping, err := mapper.RESTMapping(schema.GroupKind{Kind: "ConfigMap"})
	ok(t, err)

	client := dynamic.NewForConfigOrDie(config).Resource(mapping.Resource).Namespace(ns)
	object := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{"a": "b"}}}
	object.SetGroupVersionKind(mapping.GroupVersionKind)
	object.SetName("dynamic")
	made, err := client.Create(ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	ok(t, err)
	ok(t, unstructured.SetNestedField(made.Object, "c", "data", "a"))
	_, err = client.Update(ctx, made, metav1.UpdateOptions{})
	ok(t, err)
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: "!none", FieldSelector: "metadata.name=dynamic"})
	ok(t, err)
	must(t, len(list.Items) == 1 && list.Items[0].GetKind() == "ConfigMap", "one ConfigMap, but %v", list)
	value, _, err := unstructured.NestedString(list.Items[0].Object, "data", "a")
	ok(t, err)
	must(t, value == "c", "as it was updated, but %q", value)
	ok(t, client.Delete(ctx, "dynamic", metav1.DeleteOptions{}))

	ok(t, unstructured.SetNestedField(object.Object, "b", "date"))
	_, err = client.Create(ctx, object, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	must(t, err != nil && strings.Contains(err.Error(), `unknown field "date"`), "a misspelt field is told, but %v", err)
}
