package main

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/token/cache"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/pkg/serviceaccount"
	"k8s.io/kubernetes/pkg/serviceaccount/externaljwt/plugin"
	"tokensmith/tests/verifiers/go/lines"
)

// kubeAPIServer is what kube-apiserver verifies a service account's token by when its keys are an external signer's: the
// client of the signer, the authenticator, and the cache of tokens with kube-apiserver's own times. Where kube-apiserver
// looks into its store, this asks the server.
func kubeAPIServer(ctx context.Context, s lines.Settings) (lines.Verify, error) {
	_, keys, err := plugin.New(ctx, s.Issuer, s.Socket, 30*time.Second, false)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: s.Server, BearerToken: s.Reviewer, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(s.CA)},
	})
	if err != nil {
		return nil, err
	}
	accounts := serviceaccount.JWTTokenAuthenticator([]string{s.Issuer}, keys, authenticator.Audiences{s.Issuer}, serviceaccount.NewValidator(getter{client}))
	cached := cache.New(accounts, true, 10*time.Second, 0)
	return func(ctx context.Context, token string) error {
		_, ok, err := cached.AuthenticateToken(authenticator.WithAudiences(ctx, []string{s.Audience}), token)
		if err == nil && !ok {
			return errors.New("not of this issuer")
		}
		return err
	}, nil
}

type getter struct{ client kubernetes.Interface }

func (g getter) GetServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return g.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (g getter) GetPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	return g.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (g getter) GetSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return g.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

func (g getter) GetNode(ctx context.Context, name string) (*corev1.Node, error) {
	return g.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
}
