// Logs in at a cloud with the token of a file, as an application written in Go does: by the environment alone, with the cloud's own
// library as it is.
//
//	clouds aws|google|oauth2|azure|adal
//
// It prints what the cloud said, as JSON: who one is there, or what the library makes of its refusal.
package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"
)

// said is what comes of a login.
type said struct {
	Identity string `json:"identity,omitempty"`
	Token    string `json:"token,omitempty"`
	Code     string `json:"code,omitempty"`
	Status   int    `json:"status,omitempty"`
	Message  string `json:"message,omitempty"`
}

func main() {
	clouds := map[string]func(context.Context) (said, error){"aws": amazon, "google": google, "oauth2": oauth2, "azure": azure, "adal": before}
	if len(os.Args) != 2 || clouds[os.Args[1]] == nil {
		log.Fatal("clouds aws|google|oauth2|azure|adal")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	outcome, err := clouds[os.Args[1]](ctx)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(outcome); err != nil {
		log.Fatal(err)
	}
}
