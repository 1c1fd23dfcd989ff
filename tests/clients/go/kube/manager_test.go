package kube

import (
	"context"
	"os"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const finalizer = "tests.tokensmith/account"

// accounts keeps an account for each ConfigMap, which owns it, and takes it away with it.
type accounts struct{ client.Client }

func (a accounts) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var owner corev1.ConfigMap
	if err := a.Get(ctx, request.NamespacedName, &owner); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: owner.Namespace, Name: owner.Name}}
	if !owner.DeletionTimestamp.IsZero() {
		if err := a.Delete(ctx, account); client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, err
		}
		controllerutil.RemoveFinalizer(&owner, finalizer)
		return reconcile.Result{}, client.IgnoreNotFound(a.Update(ctx, &owner))
	}
	if controllerutil.AddFinalizer(&owner, finalizer) {
		if err := a.Update(ctx, &owner); err != nil {
			return reconcile.Result{}, err
		}
	}
	_, err := controllerutil.CreateOrUpdate(ctx, a.Client, account, func() error {
		account.Labels = owner.Data
		return controllerutil.SetControllerReference(&owner, account, a.Scheme())
	})
	return reconcile.Result{}, err
}

func TestManager(t *testing.T) {
	config := config(t)
	ns := namespace(t, clientset(t, config))
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:  scheme.Scheme,
		Metrics: server.Options{BindAddress: "0"},
		Cache:   cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {}}},

		LeaderElection:                true,
		LeaderElectionID:              "tests",
		LeaderElectionNamespace:       ns,
		LeaderElectionReleaseOnCancel: true,
	})
	ok(t, err)
	ok(t, manager.GetFieldIndexer().IndexField(t.Context(), &corev1.ServiceAccount{}, "owner", func(object client.Object) []string {
		if owner := metav1.GetControllerOf(object); owner != nil {
			return []string{owner.Name}
		}
		return nil
	}))
	controller := accounts{manager.GetClient()}
	// Not for the root CA, which is in each namespace.
	mine := builder.WithPredicates(predicate.NewPredicateFuncs(func(object client.Object) bool { return object.GetName() == "app" }))
	ok(t, ctrl.NewControllerManagedBy(manager).For(&corev1.ConfigMap{}, mine).Owns(&corev1.ServiceAccount{}).Complete(controller))
	running, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- manager.Start(running) }()
	defer func() {
		stop()
		ok(t, <-ended)
	}()
	must(t, manager.GetCache().WaitForCacheSync(t.Context()), "the cache is in sync")

	direct, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	ok(t, err)
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app"}, Data: map[string]string{"step": "1"}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "app"}}
	key := client.ObjectKeyFromObject(owner)
	ok(t, direct.Create(t.Context(), owner))
	labelled := func(step string) func(context.Context) bool {
		return func(ctx context.Context) bool {
			return direct.Get(ctx, key, account) == nil && account.Labels["step"] == step
		}
	}
	until(t, "an account", labelled("1"))
	must(t, metav1.IsControlledBy(account, owner), "its owner is the ConfigMap")
	var lease coordinationv1.Lease
	ok(t, direct.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "tests"}, &lease))
	must(t, *lease.Spec.HolderIdentity != "", "the manager leads")
	until(t, "the account in the index", func(ctx context.Context) bool {
		var owned corev1.ServiceAccountList
		err := manager.GetClient().List(ctx, &owned, client.InNamespace(ns), client.MatchingFields{"owner": "app"})
		return err == nil && len(owned.Items) == 1
	})

	ok(t, direct.Get(t.Context(), key, owner))
	owner.Data["step"] = "2"
	ok(t, direct.Update(t.Context(), owner))
	until(t, "the account to follow", labelled("2"))
	first := account.UID
	ok(t, direct.Delete(t.Context(), account))
	until(t, "the account to come again", func(ctx context.Context) bool { return labelled("2")(ctx) && account.UID != first })

	ok(t, direct.Delete(t.Context(), owner, client.PropagationPolicy(metav1.DeletePropagationBackground)))
	until(t, "both to go", func(ctx context.Context) bool {
		return apierrors.IsNotFound(direct.Get(ctx, key, owner)) && apierrors.IsNotFound(direct.Get(ctx, key, account))
	})
}
