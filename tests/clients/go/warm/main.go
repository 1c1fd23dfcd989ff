// Warm is a verifier of go-oidc v3 that keeps running, as oauth2-proxy, Dex and Vault's JWT auth do. It reads tokens from its
// standard input, one a line, and says of each "taken" or "refused: why".
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/coreos/go-oidc/v3/oidc"
)

func main() {
	issuer := flag.String("issuer", "", "whose tokens are taken")
	audience := flag.String("audience", "", "which of them")
	ca := flag.String("ca", "", "the issuer's CA, PEM")
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
	tokens := bufio.NewScanner(os.Stdin)
	for tokens.Scan() {
		if _, err := verifier.Verify(ctx, tokens.Text()); err != nil {
			fmt.Printf("refused: %v\n", err)
		} else {
			fmt.Println("taken")
		}
	}
}
