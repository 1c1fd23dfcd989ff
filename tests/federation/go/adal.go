package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/Azure/go-autorest/autorest/adal"
)

// before is adal of go-autorest, on which Azure's libraries for Go stood before azidentity. It is out of support, asks version 1 of the
// endpoint, and reads no variables: programs did.
func before(ctx context.Context) (said, error) {
	config, err := adal.NewOAuthConfig(os.Getenv("AZURE_AUTHORITY_HOST"), os.Getenv("AZURE_TENANT_ID"))
	if err != nil {
		return said{}, err
	}
	assertion := func() (string, error) {
		text, err := os.ReadFile(os.Getenv("AZURE_FEDERATED_TOKEN_FILE"))
		return string(text), err
	}
	token, err := adal.NewServicePrincipalTokenFromFederatedTokenCallback(*config, os.Getenv("AZURE_CLIENT_ID"), assertion, "https://vault.azure.net")
	if err != nil {
		return said{}, err
	}
	err = token.RefreshWithContext(ctx)
	if err == nil {
		return said{Token: token.OAuthToken()}, nil
	}
	var refused adal.TokenRefreshError
	if !errors.As(err, &refused) || refused.Response() == nil {
		return said{}, err
	}
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	text, _ := io.ReadAll(refused.Response().Body)
	if json.Unmarshal(text, &body) != nil {
		return said{Message: err.Error()}, nil
	}
	return said{Code: body.Error, Status: refused.Response().StatusCode, Message: body.Description}, nil
}
