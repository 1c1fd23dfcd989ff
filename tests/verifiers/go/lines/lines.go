// Package lines has verifiers answer lines: `verify TOKEN` is answered by "taken" or "refused: why". The first line that is written
// is "ready MODULE VERSION". After `advance SECONDS` a verifier that can be told its time takes it to be so much later.
package lines

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
	"runtime/debug"
	"strings"
	"time"
)

// Settings are what a verifier is told of the issuer.
type Settings struct {
	Issuer   string // whose tokens are taken
	Audience string // which of them
	CA       string // the issuer's CA, PEM
	Server   string // where TokenReview is
	Reviewer string // the token of who may ask there
	Socket   string // the signer's
}

// Verify says why a token is refused.
type Verify func(ctx context.Context, token string) error

// Verifier is one that there is, with the module whose version it tells.
type Verifier struct {
	Module string
	Start  func(context.Context, Settings) (Verify, error)
	Moves  bool // Whether its time is Now.
}

var ahead time.Duration

// Now is a verifier's time, where it can be told.
func Now() time.Time { return time.Now().Add(ahead) }

// Main is the program: its argument says which of them.
func Main(verifiers map[string]Verifier) {
	var s Settings
	flag.StringVar(&s.Issuer, "issuer", "", "whose tokens are taken")
	flag.StringVar(&s.Audience, "audience", "", "which of them")
	flag.StringVar(&s.Server, "server", "", "where TokenReview is")
	flag.StringVar(&s.Socket, "socket", "", "the signer's Unix socket")
	flag.StringVar(&s.Reviewer, "reviewer", "", "the token of who may ask there")
	ca := flag.String("ca", "", "the issuer's CA, a file of PEM")
	flag.Parse()
	chosen, known := verifiers[flag.Arg(0)]
	if !known {
		log.Fatalf("no such verifier: %q", flag.Arg(0))
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	s.CA = string(pem)
	ctx := context.Background()
	verify, err := chosen.Start(ctx, s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("ready %s %s\n", chosen.Module, version(chosen.Module))
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if seconds, ok := strings.CutPrefix(lines.Text(), "advance "); ok && chosen.Moves {
			if more, err := time.ParseDuration(seconds + "s"); err == nil {
				ahead += more
				fmt.Println("ok")
				continue
			}
		}
		token, ok := strings.CutPrefix(lines.Text(), "verify ")
		switch {
		case !ok:
			fmt.Println("unsupported")
		default:
			if err := verify(ctx, token); err != nil {
				fmt.Printf("refused: %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
			} else {
				fmt.Println("taken")
			}
		}
	}
}

func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return "unknown"
}

// Client is an HTTP client that trusts the issuer's CA.
func (s Settings) Client() *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CA))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
}
