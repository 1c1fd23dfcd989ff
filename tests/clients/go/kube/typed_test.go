package kube

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// typed is what all typed clients have.
type typed[O metav1.Object, L metav1.ListInterface] interface {
	Create(context.Context, O, metav1.CreateOptions) (O, error)
	Update(context.Context, O, metav1.UpdateOptions) (O, error)
	Get(context.Context, string, metav1.GetOptions) (O, error)
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
	Delete(context.Context, string, metav1.DeleteOptions) error
	DeleteCollection(context.Context, metav1.DeleteOptions, metav1.ListOptions) error
}

func TestTyped(t *testing.T) {
	for name, media := range map[string]string{"JSON": "application/json", "Protobuf": "application/vnd.kubernetes.protobuf"} {
		t.Run(name, func(t *testing.T) {
			config := config(t)
			config.ContentType, config.AcceptContentTypes = media, media
			seen := recorded(config)
			client := clientset(t, config)
			ns := namespace(t, client)
			core, rbac := client.CoreV1(), client.RbacV1()
			meta := metav1.ObjectMeta{Name: ns}
			pod := corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:1.0"}}}
			rules := []rbacv1.PolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}}}
			to := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"}

			goesRound(t, core.ConfigMaps(ns), &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"a": "b"}})
			goesRound(t, core.Secrets(ns), &corev1.Secret{ObjectMeta: meta, Data: map[string][]byte{"a": {0, 255}}})
			goesRound(t, core.ServiceAccounts(ns), &corev1.ServiceAccount{ObjectMeta: meta})
			goesRound(t, core.Pods(ns), &corev1.Pod{ObjectMeta: meta, Spec: pod})
			goesRound(t, core.Nodes(), &corev1.Node{ObjectMeta: meta})
			goesRound(t, rbac.Roles(ns), &rbacv1.Role{ObjectMeta: meta, Rules: rules})
			goesRound(t, rbac.RoleBindings(ns), &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: to})
			goesRound(t, rbac.ClusterRoles(), &rbacv1.ClusterRole{ObjectMeta: meta, Rules: rules})
			goesRound(t, rbac.ClusterRoleBindings(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta, RoleRef: to})
			goesRound(t, core.Events(ns), &corev1.Event{ObjectMeta: meta, InvolvedObject: corev1.ObjectReference{Namespace: ns}})
			goesRound(t, client.CoordinationV1().Leases(ns), &coordinationv1.Lease{ObjectMeta: meta})
			template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": ns}}, Spec: pod}
			selector := &metav1.LabelSelector{MatchLabels: template.Labels}
			apps, batch := client.AppsV1(), client.BatchV1()
			goesRound(t, apps.Deployments(ns), &appsv1.Deployment{
				ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template},
			})
			goesRound(t, apps.StatefulSets(ns), &appsv1.StatefulSet{
				ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template},
			})
			once := *template.DeepCopy()
			once.Spec.RestartPolicy = corev1.RestartPolicyNever
			goesRound(t, batch.Jobs(ns), &batchv1.Job{ObjectMeta: meta, Spec: batchv1.JobSpec{Template: once}})
			goesRound(t, client.NetworkingV1().NetworkPolicies(ns), &networkingv1.NetworkPolicy{ObjectMeta: meta})
			goesRound(t, client.PolicyV1().PodDisruptionBudgets(ns), &policyv1.PodDisruptionBudget{
				ObjectMeta: meta, Spec: policyv1.PodDisruptionBudgetSpec{Selector: selector},
			})
			goesRound(t, client.SchedulingV1().PriorityClasses(), &schedulingv1.PriorityClass{ObjectMeta: meta, Value: 10})

			ok(t, core.Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}))
			until(t, "the end of the namespace", func(ctx context.Context) bool {
				_, err := core.Namespaces().Get(ctx, ns, metav1.GetOptions{})
				return apierrors.IsNotFound(err)
			})
			for told := range seen.types {
				must(t, strings.HasPrefix(told, media), "answers and events are %s, but %s", media, told)
			}
		})
	}
}

// goesRound leads an object through its life, and holds what a watch tells of it against that.
func goesRound[O metav1.Object, L metav1.ListInterface](t *testing.T, client typed[O, L], object O) {
	t.Helper()
	ctx, name := t.Context(), object.GetName()
	only := metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	before, err := client.List(ctx, only)
	ok(t, err)
	only.ResourceVersion = before.GetResourceVersion()
	events, err := client.Watch(ctx, only)
	ok(t, err)
	defer events.Stop()
	next := func(wanted watch.EventType) {
		t.Helper()
		event := within(t, events.ResultChan())
		// Some are first told to end.
		for wanted == watch.Deleted && event.Type == watch.Modified {
			event = within(t, events.ResultChan())
		}
		must(t, event.Type == wanted, "%T %s told as %s, but as %v", object, name, wanted, event)
	}

	made, err := client.Create(ctx, object, metav1.CreateOptions{})
	ok(t, err)
	next(watch.Added)
	born := made.GetCreationTimestamp()
	must(t, made.GetUID() != "" && !born.IsZero(), "%T has a UID and a time", object)
	_, err = client.Create(ctx, object, metav1.CreateOptions{})
	must(t, apierrors.IsAlreadyExists(err), "%T is there, but %v", object, err)

	made.SetLabels(map[string]string{"tests": name})
	_, err = client.Update(ctx, made, metav1.UpdateOptions{DryRun: []string{metav1.DryRunAll}})
	ok(t, err)
	updated, err := client.Update(ctx, made, metav1.UpdateOptions{})
	ok(t, err)
	next(watch.Modified)
	_, err = client.Update(ctx, labelled(made, "late"), metav1.UpdateOptions{})
	must(t, apierrors.IsConflict(err), "an update of an old %T conflicts, but %v", object, err)
	found, err := client.Get(ctx, name, metav1.GetOptions{})
	ok(t, err)
	must(t, found.GetResourceVersion() == updated.GetResourceVersion(), "%T as it was updated", object)

	other := types.UID("00000000-0000-4000-8000-000000000000")
	err = client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}})
	must(t, apierrors.IsConflict(err), "another %T is meant, but %v", object, err)
	ok(t, client.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "tests=" + name}))
	next(watch.Deleted)
	_, err = client.Get(ctx, name, metav1.GetOptions{})
	must(t, apierrors.IsNotFound(err), "%T is gone, but %v", object, err)
	err = client.Delete(ctx, name, metav1.DeleteOptions{})
	must(t, apierrors.IsNotFound(err), "%T is gone, but %v", object, err)
}

func labelled[O metav1.Object](object O, label string) O {
	object.SetLabels(map[string]string{"tests": label})
	return object
}
