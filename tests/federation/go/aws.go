package main

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// amazon is aws-sdk-go-v2: its default chain ends in stscreds' web identity, whose variables EKS sets.
func amazon(ctx context.Context) (said, error) {
	loaded, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return said{}, err
	}
	identity, err := sts.NewFromConfig(loaded).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err == nil {
		return said{Identity: aws.ToString(identity.Arn)}, nil
	}
	var refused smithy.APIError
	var response *awshttp.ResponseError
	if !errors.As(err, &refused) || !errors.As(err, &response) {
		return said{}, err
	}
	return said{Code: refused.ErrorCode(), Status: response.HTTPStatusCode(), Message: refused.ErrorMessage()}, nil
}
