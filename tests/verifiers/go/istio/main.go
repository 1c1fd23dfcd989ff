// How istiod reviews tokens, as the other verifiers run. A program of its own, for istio's libraries take over what others log.
package main

import (
	"context"

	"istio.io/istio/security/pkg/k8s/tokenreview"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"tokensmith/tests/verifiers/go/lines"
)

func main() {
	lines.Main(map[string]lines.Verifier{"istio-review": {Module: "istio.io/istio", Start: review}})
}

// review is how istiod's CA and its authenticators ask about a token.
func review(_ context.Context, s lines.Settings) (lines.Verify, error) {
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: s.Server, BearerToken: s.Reviewer, TLSClientConfig: rest.TLSClientConfig{CAData: []byte(s.CA)},
	})
	if err != nil {
		return nil, err
	}
	return func(_ context.Context, token string) error {
		_, err := tokenreview.ValidateK8sJwt(client, token, []string{s.Audience})
		return err
	}, nil
}
