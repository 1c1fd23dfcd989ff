package kube

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// controller-runtime's client: apply with and without force, patches from what was read, of a version and of none.
func TestControllerClient(t *testing.T) {
	config, ctx := config(t), t.Context()
	ns := namespace(t, clientset(t, config))
	direct, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	ok(t, err)
	settings := func(value string) *corev1ac.ConfigMapApplyConfiguration {
		return corev1ac.ConfigMap("one", ns).WithData(map[string]string{"a": value})
	}
	ok(t, direct.Apply(ctx, settings("b"), client.FieldOwner("author")))
	err = direct.Apply(ctx, settings("c"), client.FieldOwner("other"))
	must(t, apierrors.IsConflict(err), "it is the author's, but %v", err)
	ok(t, direct.Apply(ctx, settings("c"), client.FieldOwner("other"), client.ForceOwnership))
	found := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "one"}}
	ok(t, direct.Get(ctx, client.ObjectKeyFromObject(found), found))
	must(t, found.Data["a"] == "c", "it is taken, but %v", found.Data)

	before, late := found.DeepCopy(), found.DeepCopy()
	found.Labels = map[string]string{"tests": "patch"}
	ok(t, direct.Patch(ctx, found, client.MergeFrom(before)))
	must(t, found.Labels["tests"] == "patch" && found.ResourceVersion != before.ResourceVersion, "but %v", found)
	late.Data["a"] = "d"
	err = direct.Patch(ctx, late.DeepCopy(), client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	must(t, apierrors.IsConflict(err), "a patch of an old version conflicts, but %v", err)
	ok(t, direct.Patch(ctx, late, client.MergeFrom(before)))
	must(t, late.Data["a"] == "d" && late.Labels["tests"] == "patch", "a patch of none is of the last, but %v", late)

	web := deployment("web")
	web.Namespace = ns
	ok(t, direct.Create(ctx, web))
	old := web.DeepCopy()
	web.Spec.Template.Spec.Containers[1].Image = "side:2"
	ok(t, direct.Patch(ctx, web, client.StrategicMergeFrom(old)))
	must(t, images(web) == "app:1 side:2", "a container by its name, but %s", images(web))
	old = web.DeepCopy()
	web.Status.Replicas, web.Spec.Replicas = 3, new(int32(9))
	ok(t, direct.Status().Patch(ctx, web, client.MergeFrom(old), client.FieldOwner("status")))
	must(t, web.Status.Replicas == 3 && *web.Spec.Replicas == 1, "nothing but the status, but %v", web)
	must(t, managed(web, "status", metav1.ManagedFieldsOperationUpdate, "status"), "whose it is, but %v", web.ManagedFields)
}

// webs keeps a deployment for each labelled ConfigMap, and what it became in the map's annotations.
type webs struct{ client.Client }

func (w webs) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var owner corev1.ConfigMap
	if err := w.Get(ctx, request.NamespacedName, &owner); err != nil || owner.Data["image"] == "" {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	web := deployment(owner.Name)
	web.Namespace = owner.Namespace
	result, err := controllerutil.CreateOrPatch(ctx, w.Client, web, func() error {
		web.Spec.Template.Spec.Containers[0].Image = owner.Data["image"]
		web.Status.ObservedGeneration = web.Generation
		return controllerutil.SetControllerReference(&owner, web, w.Scheme())
	})
	if err != nil || result != controllerutil.OperationResultNone {
		return reconcile.Result{}, err
	}
	settled := corev1ac.ConfigMap(owner.Name, owner.Namespace).WithAnnotations(map[string]string{"settled": owner.Data["image"]})
	return reconcile.Result{}, w.Apply(ctx, settled, client.FieldOwner("webs"), client.ForceOwnership)
}

// A loop by CreateOrPatch comes to rest, again after each change of what it follows and of what it keeps.
func TestReconcileByPatches(t *testing.T) {
	config, ctx := config(t), t.Context()
	ns := namespace(t, clientset(t, config))
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme.Scheme,
		Metrics: server.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {}}},
	})
	ok(t, err)
	ok(t, ctrl.NewControllerManagedBy(manager).Named("webs").For(&corev1.ConfigMap{}).Owns(&appsv1.Deployment{}).
		Complete(webs{manager.GetClient()}))
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(running) }()
	defer func() {
		stop()
		ok(t, <-ended)
	}()

	direct, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	ok(t, err)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app"}, Data: map[string]string{"image": "app:1"}}
	web := &appsv1.Deployment{}
	key := client.ObjectKeyFromObject(owner)
	ok(t, direct.Create(ctx, owner))
	settled := func(image string) {
		t.Helper()
		until(t, image, func(ctx context.Context) bool {
			return direct.Get(ctx, key, owner) == nil && direct.Get(ctx, key, web) == nil && owner.Annotations["settled"] == image &&
				images(web) == image+" side:1" && web.Status.ObservedGeneration == web.Generation
		})
	}
	settled("app:1")
	must(t, metav1.IsControlledBy(web, owner), "its owner is the map, but %v", web.OwnerReferences)
	before := owner.DeepCopy()
	owner.Data["image"] = "app:2"
	ok(t, direct.Patch(ctx, owner, client.MergeFrom(before)))
	settled("app:2")
	old := web.DeepCopy()
	web.Spec.Template.Spec.Containers[0].Image = "somebody:1"
	ok(t, direct.Patch(ctx, web, client.StrategicMergeFrom(old)))
	settled("app:2")
}
