// The keys that istiod verifies by: `istio -issuer=URL`, with the lines of tests/verifiers/go. Its resolver goes by $SSL_CERT_FILE.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"istio.io/istio/pilot/pkg/model"
)

// refresh stands for the twenty minutes after which istiod fetches key sets again.
const refresh = 20 * time.Second

func main() {
	issuer := flag.String("issuer", "", "whose tokens are taken")
	flag.Parse()
	verify := resolved(*issuer)
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

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == "istio.io/istio" {
			return dependency.Version
		}
	}
	return "unknown"
}
