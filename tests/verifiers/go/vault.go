package main

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"
	vaultjwt "github.com/hashicorp/vault-plugin-auth-jwt"
	vaultkubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/sdk/logical"
	"tokensmith/tests/verifiers/go/lines"
)

// vault is an auth plugin over storage in memory.
type vault struct {
	backend logical.Backend
	storage logical.Storage
}

func mount(ctx context.Context, factory logical.Factory) (vault, error) {
	storage := &logical.InmemStorage{}
	backend, err := factory(ctx, &logical.BackendConfig{
		StorageView: storage,
		Logger:      hclog.NewNullLogger(),
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: time.Hour},
	})
	if err != nil {
		return vault{}, err
	}
	mounted := vault{backend, storage}
	return mounted, backend.Initialize(ctx, &logical.InitializationRequest{Storage: storage})
}

// write is `vault write auth/MOUNT/PATH`.
func (v vault) write(ctx context.Context, operation logical.Operation, path string, data map[string]any) error {
	response, err := v.backend.HandleRequest(ctx, &logical.Request{
		Operation: operation, Path: path, Storage: v.storage, Data: data, Connection: &logical.Connection{RemoteAddr: "127.0.0.1"},
	})
	if response != nil && response.IsError() {
		return response.Error()
	}
	return err
}

// set writes the configuration and a role, by which a token logs in.
func (v vault) set(ctx context.Context, config, role map[string]any) (lines.Verify, error) {
	if err := v.write(ctx, logical.UpdateOperation, "config", config); err != nil {
		return nil, err
	}
	if err := v.write(ctx, logical.CreateOperation, "role/app", role); err != nil {
		return nil, err
	}
	return func(ctx context.Context, token string) error {
		return v.write(ctx, logical.UpdateOperation, "login", map[string]any{"role": "app", "jwt": token})
	}, nil
}

func vaultJWT(ctx context.Context, s lines.Settings) (lines.Verify, error) {
	mounted, err := mount(ctx, vaultjwt.Factory)
	if err != nil {
		return nil, err
	}
	return mounted.set(ctx,
		map[string]any{"oidc_discovery_url": s.Issuer, "oidc_discovery_ca_pem": s.CA},
		map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{s.Audience}})
}

func vaultKubernetes(ctx context.Context, s lines.Settings) (lines.Verify, error) {
	mounted, err := mount(ctx, vaultkubernetes.Factory)
	if err != nil {
		return nil, err
	}
	return mounted.set(ctx,
		map[string]any{"kubernetes_host": s.Server, "kubernetes_ca_cert": s.CA, "disable_local_ca_jwt": true, "token_reviewer_jwt": s.Reviewer},
		map[string]any{"bound_service_account_names": []string{"*"}, "bound_service_account_namespaces": []string{"default"}, "audience": s.Audience})
}
