package kube

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	autoscalingv1ac "k8s.io/client-go/applyconfigurations/autoscaling/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/dynamic"
)

// as are the options of who applies.
func as(manager string) metav1.ApplyOptions { return metav1.ApplyOptions{FieldManager: manager} }

// web is what its author says of a deployment.
func web(ns string, replicas int32, images ...string) *appsv1ac.DeploymentApplyConfiguration {
	labels := map[string]string{"app": "web"}
	pod := corev1ac.PodSpec()
	for _, image := range images {
		name, _, _ := strings.Cut(image, ":")
		pod.WithContainers(corev1ac.Container().WithName(name).WithImage(image))
	}
	return appsv1ac.Deployment("web", ns).WithSpec(appsv1ac.DeploymentSpec().WithReplicas(replicas).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(corev1ac.PodTemplateSpec().WithLabels(labels).WithSpec(pod)))
}

// Who applies has what it applied, is told whose it would take, and may take it.
func TestApply(t *testing.T) {
	client, ctx := clientset(t, config(t)), t.Context()
	ns := namespace(t, client)
	deployments := client.AppsV1().Deployments(ns)
	made, err := deployments.Apply(ctx, web(ns, 2, "app:1", "side:1"), as("author"))
	ok(t, err)
	again, err := deployments.Apply(ctx, web(ns, 2, "app:1", "side:1"), as("author"))
	ok(t, err)
	must(t, again.ResourceVersion == made.ResourceVersion, "applied twice is applied once, but %v", again)
	less, err := deployments.Apply(ctx, web(ns, 2, "app:2"), as("author"))
	ok(t, err)
	must(t, images(less) == "app:2", "what is not named goes, but %s", images(less))

	_, err = deployments.Apply(ctx, web(ns, 3, "app:2"), as("other"))
	must(t, apierrors.IsConflict(err), "it is the author's, but %v", err)
	causes := err.(apierrors.APIStatus).Status().Details.Causes
	must(t, len(causes) == 1 && causes[0].Type == metav1.CauseTypeFieldManagerConflict && causes[0].Field == ".spec.replicas",
		"the replicas are told, but %v", causes)
	must(t, causes[0].Message == `conflict with "author"`, "the author is told, but %v", causes)
	_, err = deployments.Apply(ctx, web(ns, 3, "app:2"), metav1.ApplyOptions{FieldManager: "other", Force: true, DryRun: []string{metav1.DryRunAll}})
	ok(t, err)
	taken, err := deployments.Apply(ctx, web(ns, 3, "app:2"), metav1.ApplyOptions{FieldManager: "other", Force: true})
	ok(t, err)
	must(t, *taken.Spec.Replicas == 3, "it is taken, but %v", taken.Spec)
	_, err = deployments.Apply(ctx, web(ns, 2, "app:2"), as("author"))
	must(t, apierrors.IsConflict(err), "it is the other's now, but %v", err)
	_, err = deployments.Apply(ctx, web(ns, 2, "app:2").WithUID("00000000-0000-4000-8000-000000000000"), as("author"))
	must(t, apierrors.IsConflict(err), "another object is meant, but %v", err)
}

// Extract gives what a manager applied as a configuration, to change and to apply again.
func TestApplyExtracts(t *testing.T) {
	client, ctx := clientset(t, config(t)), t.Context()
	ns := namespace(t, client)
	deployments := client.AppsV1().Deployments(ns)
	wanted := web(ns, 2, "app:1", "side:1")
	made, err := deployments.Apply(ctx, wanted, as("author"))
	ok(t, err)
	got, err := appsv1ac.ExtractDeployment(made, "author")
	ok(t, err)
	must(t, equality.Semantic.DeepEqual(got, wanted), "as it was applied, but %+v", got)
	none, err := appsv1ac.ExtractDeployment(made, "nobody")
	ok(t, err)
	must(t, none.Spec == nil, "nobody applied anything, but %+v", none)

	got.Spec.WithReplicas(5)
	changed, err := deployments.Apply(ctx, got.WithLabels(map[string]string{"tier": "front"}), as("author"))
	ok(t, err)
	must(t, *changed.Spec.Replicas == 5 && changed.Labels["tier"] == "front" && images(changed) == "app:1 side:1", "but %v", changed)
	got, err = appsv1ac.ExtractDeployment(changed, "author")
	ok(t, err)
	got.Labels = nil
	changed, err = deployments.Apply(ctx, got, as("author"))
	ok(t, err)
	must(t, len(changed.Labels) == 0, "the label goes, but %v", changed.Labels)
}

// The status and the scale are applied by themselves, and whose they are is kept by subresource.
func TestApplySubresources(t *testing.T) {
	client, ctx := clientset(t, config(t)), t.Context()
	ns := namespace(t, client)
	deployments := client.AppsV1().Deployments(ns)
	_, err := deployments.Apply(ctx, web(ns, 1, "app:1"), as("author"))
	ok(t, err)
	available := appsv1ac.DeploymentCondition().WithType(appsv1.DeploymentAvailable).WithStatus(corev1.ConditionTrue)
	status := appsv1ac.Deployment("web", ns).WithStatus(appsv1ac.DeploymentStatus().WithReplicas(1).WithConditions(available))
	found, err := deployments.ApplyStatus(ctx, status, as("controller"))
	ok(t, err)
	must(t, found.Status.Replicas == 1 && len(found.Status.Conditions) == 1, "the status, but %v", found.Status)
	got, err := appsv1ac.ExtractDeploymentStatus(found, "controller")
	ok(t, err)
	must(t, equality.Semantic.DeepEqual(got.Status, status.Status) && got.Spec == nil, "as it was applied, but %+v", got)
	progressing := appsv1ac.DeploymentCondition().WithType(appsv1.DeploymentProgressing).WithStatus(corev1.ConditionTrue)
	second := appsv1ac.Deployment("web", ns).WithStatus(appsv1ac.DeploymentStatus().WithConditions(progressing))
	found, err = deployments.ApplyStatus(ctx, second, as("second"))
	ok(t, err)
	must(t, len(found.Status.Conditions) == 2, "a condition of each, but %v", found.Status)

	scale := autoscalingv1ac.Scale().WithName("web").WithNamespace(ns).WithSpec(autoscalingv1ac.ScaleSpec().WithReplicas(4))
	_, err = deployments.ApplyScale(ctx, "web", scale, as("scaler"))
	must(t, apierrors.IsConflict(err), "the replicas are the author's, but %v", err)
	scaled, err := deployments.ApplyScale(ctx, "web", scale, metav1.ApplyOptions{FieldManager: "scaler", Force: true})
	ok(t, err)
	must(t, scaled.Spec.Replicas == 4, "it is scaled, but %v", scaled)
	found, err = deployments.Get(ctx, "web", metav1.GetOptions{})
	ok(t, err)
	must(t, managed(found, "scaler", metav1.ManagedFieldsOperationApply, "scale"), "the scaler's, but %v", found.ManagedFields)
	must(t, managed(found, "controller", metav1.ManagedFieldsOperationApply, "status"), "the controller's, but %v", found.ManagedFields)
	_, err = deployments.Apply(ctx, web(ns, 1, "app:1"), as("author"))
	must(t, apierrors.IsConflict(err) && strings.Contains(err.Error(), `conflict with "scaler" with subresource "scale"`), "but %v", err)
}

// What has no Go type is applied by the dynamic client.
func TestApplyDynamic(t *testing.T) {
	config, ctx := config(t), t.Context()
	ns := namespace(t, clientset(t, config))
	maps := dynamic.NewForConfigOrDie(config).Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(ns)
	object := func(value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "one"}, "data": map[string]any{"a": value},
		}}
	}
	_, err := maps.Apply(ctx, "one", object("b"), as("author"))
	ok(t, err)
	_, err = maps.Apply(ctx, "one", object("c"), as("other"))
	must(t, apierrors.IsConflict(err), "it is the author's, but %v", err)
	taken, err := maps.Apply(ctx, "one", object("c"), metav1.ApplyOptions{FieldManager: "other", Force: true})
	ok(t, err)
	value, _, err := unstructured.NestedString(taken.Object, "data", "a")
	ok(t, err)
	must(t, value == "c", "it is taken, but %q", value)
}
