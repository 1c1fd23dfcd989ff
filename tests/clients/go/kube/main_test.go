// Package kube drives a server with client-go and controller-runtime, over the kubeconfig in $KUBECONFIG.
package kube

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// limit is how long anything is waited for: a machine may be busy.
const limit = 60 * time.Second

func config(t *testing.T) *rest.Config {
	t.Helper()
	found, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	ok(t, err)
	found.QPS = -1
	return found
}

func clientset(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	made, err := kubernetes.NewForConfig(config)
	ok(t, err)
	return made
}

// namespace makes one for a test, and waits for the account that its pods run as.
func namespace(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-")) + "-"
	meta := metav1.ObjectMeta{GenerateName: name}
	made, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: meta}, metav1.CreateOptions{})
	ok(t, err)
	until(t, "the default account", func(ctx context.Context) bool {
		_, err := client.CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	return made.Name
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, holds bool, what string, values ...any) {
	t.Helper()
	if !holds {
		t.Fatalf("not so: "+what, values...)
	}
}

// within takes what comes.
func within[T any](t *testing.T, comes <-chan T) T {
	t.Helper()
	select {
	case came := <-comes:
		return came
	case <-time.After(limit):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

func until(t *testing.T, what string, holds func(context.Context) bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, limit, true,
		func(ctx context.Context) (bool, error) { return holds(ctx), nil })
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// recorder keeps the queries and the media types of the requests that pass.
type recorder struct {
	next    http.RoundTripper
	lock    sync.Mutex
	queries []string
	types   map[string]bool
}

func recorded(config *rest.Config) *recorder {
	made := &recorder{types: map[string]bool{}}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		made.next = next
		return made
	})
	return made
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := r.next.RoundTrip(request)
	r.lock.Lock()
	defer r.lock.Unlock()
	r.queries = append(r.queries, request.URL.RawQuery)
	if err == nil {
		r.types[answer.Header.Get("Content-Type")] = true
	}
	return answer, err
}

func (r *recorder) asked(part string) bool {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, query := range r.queries {
		if strings.Contains(query, part) {
			return true
		}
	}
	return false
}
