package main

import (
	"context"
	"errors"
	"time"

	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
	"tokensmith/tests/verifiers/go/lines"
)

// kubeOIDC is kube-apiserver's authenticator, as an AuthenticationConfiguration sets it up.
func kubeOIDC(ctx context.Context, s lines.Settings) (lines.Verify, error) {
	ca, err := dynamiccertificates.NewStaticCAContent("issuer", []byte(s.CA))
	if err != nil {
		return nil, err
	}
	prefix := ""
	authenticator, err := oidc.New(ctx, oidc.Options{
		JWTAuthenticator: apiserver.JWTAuthenticator{
			Issuer:        apiserver.Issuer{URL: s.Issuer, Audiences: []string{s.Audience}},
			ClaimMappings: apiserver.ClaimMappings{Username: apiserver.PrefixedClaimOrExpression{Claim: "sub", Prefix: &prefix}},
		},
		CAContentProvider:    ca,
		SupportedSigningAlgs: oidc.AllValidSigningAlgorithms(),
	})
	if err != nil {
		return nil, err
	}
	// It asks the issuer in the background, and again after some seconds where that fails.
	for deadline := time.Now().Add(30 * time.Second); authenticator.HealthCheck() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, authenticator.HealthCheck()
		}
	}
	return func(ctx context.Context, token string) error {
		_, ok, err := authenticator.AuthenticateToken(ctx, token)
		if err == nil && !ok {
			return errors.New("not of this issuer")
		}
		return err
	}, nil
}
