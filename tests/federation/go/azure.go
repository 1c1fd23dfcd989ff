package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// azure is azidentity with the variables that the webhook of Workload ID sets. The one option is that which Microsoft has for
// authorities of one's own: otherwise it asks Microsoft whether it knows this one.
func azure(ctx context.Context) (said, error) {
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{DisableInstanceDiscovery: true})
	if err != nil {
		return said{}, err
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}})
	if err == nil {
		return said{Token: token.Token}, nil
	}
	var refused *azidentity.AuthenticationFailedError
	if !errors.As(err, &refused) || refused.RawResponse == nil {
		return said{}, err
	}
	var body struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(refused.RawResponse.Body).Decode(&body); err != nil {
		return said{}, err
	}
	return said{Code: body.Error, Status: refused.RawResponse.StatusCode, Message: body.Description}, nil
}
