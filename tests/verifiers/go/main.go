// Verifiers that people run, as programs that keep running: `verifiers NAME`.
package main

import "tokensmith/tests/verifiers/go/lines"

var verifiers = map[string]lines.Verifier{
	"go-oidc":             {Module: "github.com/coreos/go-oidc/v3", Start: goOIDC, Moves: true},
	"go-oidc-2":           {Module: "github.com/coreos/go-oidc", Start: goOIDC2},
	"kube-apiserver":      {Module: "k8s.io/kubernetes", Start: kubeAPIServer},
	"kube-apiserver-oidc": {Module: "k8s.io/apiserver", Start: kubeOIDC},
	"vault-jwt":           {Module: "github.com/hashicorp/vault-plugin-auth-jwt", Start: vaultJWT},
	"vault-kubernetes":    {Module: "github.com/hashicorp/vault-plugin-auth-kubernetes", Start: vaultKubernetes},
}

func main() { lines.Main(verifiers) }
