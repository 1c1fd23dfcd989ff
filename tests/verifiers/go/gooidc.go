package main

import (
	"context"

	oidc2 "github.com/coreos/go-oidc"
	"github.com/coreos/go-oidc/v3/oidc"
	"tokensmith/tests/verifiers/go/lines"
)

func goOIDC(ctx context.Context, s lines.Settings) (lines.Verify, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, s.Client()), s.Issuer)
	if err != nil {
		return nil, err
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: s.Audience, Now: lines.Now})
	return func(ctx context.Context, token string) error {
		_, err := verifier.Verify(ctx, token)
		return err
	}, nil
}

func goOIDC2(ctx context.Context, s lines.Settings) (lines.Verify, error) {
	provider, err := oidc2.NewProvider(oidc2.ClientContext(ctx, s.Client()), s.Issuer)
	if err != nil {
		return nil, err
	}
	verifier := provider.Verifier(&oidc2.Config{ClientID: s.Audience})
	return func(ctx context.Context, token string) error {
		_, err := verifier.Verify(ctx, token)
		return err
	}, nil
}
