// Uses does with a projected token what an application written in Go does: reads the file, calls with the bearer.
//
//	uses http FILE URL         a request
//	uses grpc FILE HOST:PORT   a gRPC call, credentials from the file on each call
//	uses plain HOST:PORT       a gRPC call without credentials or TLS: the sidecar adds both
//
// The CA for TLS is in $CA_FILE. It prints what the service said.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/credentials/oauth"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
)

// fileTokens reads the file whenever a token is asked for: it is replaced while the program runs.
type fileTokens string

func (path fileTokens) Token() (*oauth2.Token, error) {
	text, err := os.ReadFile(string(path))
	if err != nil {
		return nil, fmt.Errorf("failed to read token: %w", err)
	}
	return &oauth2.Token{AccessToken: strings.TrimSpace(string(text)), TokenType: "Bearer"}, nil
}

func tlsConfig() *tls.Config {
	pem, err := os.ReadFile(os.Getenv("CA_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots}
}

func call(target string, options ...grpc.DialOption) {
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		log.Fatalf("failed to dial: %v", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var trailer metadata.MD
	reply, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Trailer(&trailer))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(reply.Status, " ", strings.Join(trailer.Get("subject"), ","))
}

func main() {
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "http":
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig()}, Timeout: 20 * time.Second}
		token, err := fileTokens(args[1]).Token()
		if err != nil {
			log.Fatal(err)
		}
		request, err := http.NewRequest(http.MethodGet, args[2], nil)
		if err != nil {
			log.Fatal(err)
		}
		token.SetAuthHeader(request)
		response, err := client.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		fmt.Print(response.StatusCode, " ", string(body))
	case len(args) == 3 && args[0] == "grpc":
		call(args[2],
			grpc.WithTransportCredentials(credentials.NewTLS(tlsConfig())),
			grpc.WithPerRPCCredentials(oauth.TokenSource{TokenSource: fileTokens(args[1])}))
	case len(args) == 2 && args[0] == "plain":
		call(args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	default:
		log.Fatal("uses http FILE URL | grpc FILE HOST:PORT | plain HOST:PORT")
	}
}
