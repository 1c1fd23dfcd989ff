// App is what tokens are for: an HTTPS and gRPC service that takes a request only with a token that go-oidc verifies.
// It answers with the token's subject. The first line of its output is the two addresses.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func main() {
	issuer := flag.String("issuer", "", "whose tokens are taken")
	audience := flag.String("audience", "", "which of them")
	ca := flag.String("ca", "", "the issuer's CA, PEM")
	cert := flag.String("cert", "", "this service's certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	flag.Parse()

	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	ctx := oidc.ClientContext(context.Background(), &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	})
	provider, err := oidc.NewProvider(ctx, *issuer)
	if err != nil {
		log.Fatalf("discovery: %v", err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: *audience})
	subject := func(ctx context.Context, header string) (string, error) {
		bearer, ok := strings.CutPrefix(header, "Bearer ")
		if !ok {
			return "", fmt.Errorf("no bearer token")
		}
		token, err := verifier.Verify(ctx, bearer)
		if err != nil {
			return "", err
		}
		return token.Subject, nil
	}

	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	rpc, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s\n", web.Addr(), rpc.Addr())

	creds, err := credentials.NewServerTLSFromFile(*cert, *key)
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(creds), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
			md, _ := metadata.FromIncomingContext(ctx)
			header := strings.Join(md.Get("authorization"), ",")
			who, err := subject(ctx, header)
			if err != nil {
				return nil, status.Error(codes.Unauthenticated, err.Error())
			}
			if err := grpc.SetTrailer(ctx, metadata.Pairs("subject", who)); err != nil {
				return nil, err
			}
			return handle(ctx, req)
		}))
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { log.Fatal(server.Serve(rpc)) }()

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := subject(r.Context(), r.Header.Get("Authorization"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, who)
	})
	log.Fatal(http.ServeTLS(web, handler, *cert, *key))
}
