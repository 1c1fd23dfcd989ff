package kube

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// deployment has two containers, of which each patch below touches one.
func deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	containers := []corev1.Container{{Name: "app", Image: "app:1"}, {Name: "side", Image: "side:1"}}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: containers},
			},
		},
	}
}

func images(of *appsv1.Deployment) string {
	var found []string
	for _, container := range of.Spec.Template.Spec.Containers {
		found = append(found, container.Image)
	}
	return strings.Join(found, " ")
}

// A strategic patch finds a container by its name, a merge patch takes the list's place, a JSON patch goes by the index.
func TestPatchTypes(t *testing.T) {
	client, ctx := clientset(t, config(t)), t.Context()
	ns := namespace(t, client)
	deployments := client.AppsV1().Deployments(ns)
	_, err := deployments.Create(ctx, deployment("web"), metav1.CreateOptions{})
	ok(t, err)
	patch := func(kind types.PatchType, patch string, subresources ...string) (*appsv1.Deployment, error) {
		return deployments.Patch(ctx, "web", kind, []byte(patch), metav1.PatchOptions{FieldManager: "tests"}, subresources...)
	}
	path := "/spec/template/spec/containers"
	for _, step := range []struct {
		kind          types.PatchType
		patch, images string
	}{
		{types.StrategicMergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"side:2"}]}}}}`, "app:1 side:2"},
		{types.StrategicMergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"app","$patch":"delete"}]}}}}`, "side:2"},
		{types.MergePatchType, `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"app:3"}]}}}}`, "app:3"},
		{types.JSONPatchType, `[{"op":"add","path":"` + path + `/0","value":{"name":"side","image":"side:4"}}]`, "side:4 app:3"},
		{types.JSONPatchType, `[{"op":"test","path":"` + path + `/1/name","value":"app"},{"op":"remove","path":"` + path + `/1"}]`, "side:4"},
	} {
		found, err := patch(step.kind, step.patch)
		ok(t, err)
		must(t, images(found) == step.images, "%s after %s, but %s", step.images, step.patch, images(found))
	}

	_, err = patch(types.JSONPatchType, `[{"op":"test","path":"`+path+`/0/name","value":"app"}]`)
	must(t, apierrors.IsInvalid(err), "a test that fails is Invalid, but %v", err)
	_, err = patch(types.MergePatchType, `{"metadata":{"resourceVersion":"1"}}`)
	must(t, apierrors.IsConflict(err), "a patch of an old version conflicts, but %v", err)
	_, err = patch(types.StrategicMergePatchType, `{"spec":{"selector":{"matchLabels":{"app":"other"}}}}`)
	must(t, apierrors.IsInvalid(err), "a selector stays, but %v", err)
	_, err = patch("application/other", `{}`)
	must(t, apierrors.IsUnsupportedMediaType(err), "there is no other patch, but %v", err)

	status, err := patch(types.MergePatchType, `{"spec":{"replicas":7},"status":{"replicas":3}}`, "status")
	ok(t, err)
	must(t, status.Status.Replicas == 3 && *status.Spec.Replicas == 1, "of the status nothing but the status, but %v", status)
	_, err = patch(types.MergePatchType, `{"spec":{"replicas":4}}`, "scale")
	ok(t, err)
	found, err := deployments.Get(ctx, "web", metav1.GetOptions{})
	ok(t, err)
	must(t, *found.Spec.Replicas == 4, "it is scaled, but %v", found.Spec)
	must(t, managed(found, "tests", metav1.ManagedFieldsOperationUpdate, "scale"), "who scaled is kept, but %v", found.ManagedFields)
}

// managed tells whether the manager has an entry.
func managed(object metav1.Object, manager string, operation metav1.ManagedFieldsOperationType, subresource string) bool {
	for _, entry := range object.GetManagedFields() {
		if entry.Manager == manager && entry.Operation == operation && entry.Subresource == subresource {
			return true
		}
	}
	return false
}
