package kube

import (
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// A token that is bound to a pod reads pods, reviews as its account, and dies with the pod.
func TestTokens(t *testing.T) {
	admin, ctx := clientset(t, config(t)), t.Context()
	ns := namespace(t, admin)
	pod, err := admin.CoreV1().Pods(ns).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app:1.0"}}},
	}, metav1.CreateOptions{})
	ok(t, err)
	must(t, len(pod.Spec.Volumes) == 1 && pod.Spec.Volumes[0].Projected != nil, "the pod has a volume for its token")
	account := "system:serviceaccount:" + ns + ":default"
	_, err = admin.RbacV1().RoleBindings(ns).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default", Namespace: ns}},
	}, metav1.CreateOptions{})
	ok(t, err)

	seconds := int64(1200)
	request, err := admin.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "default", &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: "web", UID: pod.UID},
		},
	}, metav1.CreateOptions{})
	ok(t, err)
	token := request.Status.Token
	review := func() authenticationv1.TokenReviewStatus {
		answer, err := admin.AuthenticationV1().TokenReviews().Create(ctx,
			&authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, metav1.CreateOptions{})
		ok(t, err)
		return answer.Status
	}
	status := review()
	must(t, status.Authenticated && status.User.Username == account, "the token is %s's, but %v", account, status.User)
	must(t, status.User.Extra["authentication.kubernetes.io/pod-name"][0] == "web", "it names its pod")

	own := rest.AnonymousClientConfig(config(t))
	own.BearerToken = token
	bearer := clientset(t, own)
	_, err = bearer.CoreV1().Pods(ns).Get(ctx, "web", metav1.GetOptions{})
	ok(t, err)
	_, err = bearer.CoreV1().Secrets(ns).List(ctx, metav1.ListOptions{})
	must(t, apierrors.IsForbidden(err) && strings.Contains(err.Error(), account), "secrets are forbidden, but %v", err)
	self, err := bearer.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	ok(t, err)
	must(t, self.Status.UserInfo.Username == account, "it is %s, but %v", account, self.Status.UserInfo)

	reads := &authorizationv1.ResourceAttributes{Namespace: ns, Verb: "get", Resource: "pods"}
	subject, err := admin.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: account, ResourceAttributes: reads},
	}, metav1.CreateOptions{})
	ok(t, err)
	local, err := admin.AuthorizationV1().LocalSubjectAccessReviews(ns).Create(ctx, &authorizationv1.LocalSubjectAccessReview{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns},
		Spec:       authorizationv1.SubjectAccessReviewSpec{User: "nobody", ResourceAttributes: reads},
	}, metav1.CreateOptions{})
	ok(t, err)
	selves, err := bearer.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: reads},
	}, metav1.CreateOptions{})
	ok(t, err)
	must(t, subject.Status.Allowed && selves.Status.Allowed && !local.Status.Allowed, "the account reads pods, nobody does not")
	rules, err := bearer.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: ns},
	}, metav1.CreateOptions{})
	ok(t, err)
	must(t, len(rules.Status.ResourceRules) > 3, "it has rules, but %v", rules.Status)

	ok(t, admin.CoreV1().Pods(ns).Delete(ctx, "web", metav1.DeleteOptions{}))
	must(t, !review().Authenticated, "the token died with its pod")
	_, err = bearer.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	must(t, apierrors.IsUnauthorized(err), "it opens nothing any more, but %v", err)
}
