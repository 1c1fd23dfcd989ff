package main

import (
	"context"

	"cloud.google.com/go/auth/credentials"
	oauth "golang.org/x/oauth2/google"
)

const scope = "https://www.googleapis.com/auth/cloud-platform"

// google is cloud.google.com/go/auth, which Google's clients of today stand on. It has no type for a refusal: its error repeats the
// status and the body.
func google(ctx context.Context) (said, error) {
	found, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{scope}})
	if err != nil {
		return said{}, err
	}
	token, err := found.Token(ctx)
	if err != nil {
		return said{Message: err.Error()}, nil
	}
	return said{Token: token.Value}, nil
}

// oauth2 is golang.org/x/oauth2/google, on which those of before do.
func oauth2(ctx context.Context) (said, error) {
	found, err := oauth.FindDefaultCredentials(ctx, scope)
	if err != nil {
		return said{}, err
	}
	token, err := found.TokenSource.Token()
	if err != nil {
		return said{Message: err.Error()}, nil
	}
	return said{Token: token.AccessToken}, nil
}
