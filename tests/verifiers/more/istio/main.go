// What istiod verifies by: `istio NAME`, with the flags and the lines of tests/verifiers/go.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/security/pkg/k8s/tokenreview"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// refresh stands for the twenty minutes after which istiod fetches key sets again.
const refresh = 20 * time.Second

func main() {
	issuer := flag.String("issuer", "", "whose tokens are taken")
	audience := flag.String("audience", "", "which of them")
	server := flag.String("server", "", "where TokenReview is")
	reviewer := flag.String("reviewer", "", "the token of who may ask there")
	ca := flag.String("ca", "", "the issuer's CA, a file of PEM; the resolver goes by $SSL_CERT_FILE")
	flag.Parse()
	verify := map[string]func(string) error{
		"istio":        resolved(*issuer),
		"istio-review": reviewed(*server, *reviewer, *ca, *audience),
	}[flag.Arg(0)]
	if verify == nil {
		log.Fatalf("no such verifier: %q", flag.Arg(0))
	}
	fmt.Printf("ready istio.io/istio %s\n", version())
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := verify(strings.TrimPrefix(lines.Text(), "verify ")); err != nil {
			fmt.Printf("refused: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("taken")
		}
	}
}

// resolved is istiod's key resolver; what Envoy does with the keys is not here, but for the signature.
func resolved(issuer string) func(string) error {
	resolver := model.NewJwksResolver(model.JwtPubKeyEvictionDuration, refresh, model.JwtPubKeyRefreshIntervalOnFailure, model.JwtPubKeyRetryInterval)
	return func(token string) error {
		found, err := resolver.GetPublicKey(issuer, "", 5*time.Second)
		if err != nil {
			return err
		}
		var keys jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(found), &keys); err != nil {
			return err
		}
		signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512})
		if err != nil {
			return err
		}
		for _, key := range keys.Key(signed.Signatures[0].Header.KeyID) {
			_, err := signed.Verify(key)
			return err
		}
		return errors.New("no such key")
	}
}

// reviewed is how istiod's CA and its authenticators ask about a token.
func reviewed(server, reviewer, ca, audience string) func(string) error {
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server, BearerToken: reviewer, TLSClientConfig: rest.TLSClientConfig{CAFile: ca}})
	if err != nil {
		log.Fatal(err)
	}
	return func(token string) error {
		_, err := tokenreview.ValidateK8sJwt(client, token, []string{audience})
		return err
	}
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == "istio.io/istio" {
			return dependency.Version
		}
	}
	return "unknown"
}
