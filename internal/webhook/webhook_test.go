package webhook_test

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archonhq/archon/internal/netguard"
	"github.com/archonhq/archon/internal/webhook"
)

// The example of the Standard Webhooks specification and of its reference libraries.
func TestSignIsThatOfTheStandard(t *testing.T) {
	t.Parallel()
	key, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	at, body := time.Unix(1614265330, 999), []byte(`{"test": 2432232314}`)
	const id, want = "msg_p5jXN8AQM9LWM0D4loKWxJek", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	if got := webhook.Sign(id, at, body, key); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	other := append([]byte{1}, key...)
	if got := webhook.Sign(id, at, body, key, other); got != want+" "+webhook.Sign(id, at, body, other) {
		t.Errorf("two signatures: %s", got)
	}
	for _, changed := range []string{
		webhook.Sign(id+"x", at, body, key), webhook.Sign(id, at.Add(time.Second), body, key), webhook.Sign(id, at, append(body, ' '), key), webhook.Sign(id, at, body, other),
	} {
		if changed == want {
			t.Error("the signature does not cover all of id, time, body and key")
		}
	}
}

func TestParseSecret(t *testing.T) {
	t.Parallel()
	encode := func(bytes int) string { return base64.StdEncoding.EncodeToString(make([]byte, bytes)) }
	for secret, fits := range map[string]bool{
		"whsec_" + encode(24): true, "whsec_" + encode(64): true, "whsec_" + encode(23): false, "whsec_" + encode(65): false, encode(32): false,
		"": false, "whsec_": false, "whsec_!!!": false, "WHSEC_" + encode(32): false, "whsec_" + encode(32) + "\n": false, "whsec_" + strings.TrimRight(encode(32), "="): false,
	} {
		key, err := webhook.ParseSecret(secret)
		if fits != (err == nil) || (err != nil && !errors.Is(err, webhook.ErrSecret)) || (fits && len(key) < 24) {
			t.Errorf("%q: %v", secret, err)
		}
	}
	made := map[string]bool{}
	for range 100 {
		secret, err := webhook.NewSecret()
		if _, unfit := webhook.ParseSecret(secret); err != nil || unfit != nil {
			t.Fatal(err, unfit)
		}
		made[secret] = true
	}
	if len(made) != 100 {
		t.Error("secrets come twice")
	}
}

// here allows receivers on this machine.
func here() netguard.Policy {
	return netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func send(t *testing.T, policy netguard.Policy, url string) error {
	t.Helper()
	sender := webhook.NewSender(policy, "archon/test", time.Now)
	return sender.Send(context.Background(), webhook.Message{URL: url, ID: "m-1", Body: []byte(`{"a":1}`), Keys: [][]byte{[]byte("k")}}) //nolint:wrapcheck // under test
}

func TestSend(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"200", func(http.ResponseWriter, *http.Request) {}, ""},
		{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, ""},
		{"400", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "hunter2", http.StatusBadRequest) }, "the webhook answered 400; 2xx is expected"},
		{"410", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }, webhook.ErrGone.Error()},
		{"no answer", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "the webhook can't be reached: "},
		{"a large answer", func(w http.ResponseWriter, r *http.Request) {
			for range 1 << 10 {
				if _, err := io.WriteString(w, strings.Repeat("x", 64<<10)); err != nil {
					return
				}
			}
			if r.Context().Err() == nil {
				panic("64 MB were read")
			}
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			type sent struct {
				*http.Request

				body string
			}
			arrived := make(chan sent, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				arrived <- sent{r.Clone(context.Background()), string(body)}
				tt.handler(w, r)
			}))
			defer server.Close()
			err := send(t, here(), server.URL+"/secret-path")
			switch {
			case tt.want == "" && err != nil:
				t.Fatal(err)
			case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)):
				t.Fatalf("%v, want %s", err, tt.want)
			case err != nil && (strings.Contains(err.Error(), "secret-path") || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("%v says too much", err)
			}
			got := <-arrived
			if got.Method != http.MethodPost || got.body != `{"a":1}` || got.Header.Get("Content-Type") != "application/json" ||
				got.Header.Get("Webhook-Id") != "m-1" || got.Header.Get("User-Agent") != "archon/test" {
				t.Errorf("sent %s %s with %v", got.Method, got.body, got.Header)
			}
		})
	}
}

func TestSendFollowsNoRedirectAndCallsNoPrivateAddress(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer target.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for _, location := range []string{target.URL, "/there"} {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				http.Redirect(w, r, location, status)
			}))
			if err := send(t, here(), server.URL); err == nil {
				t.Errorf("%d to %s: counts as delivered", status, location)
			}
			server.Close()
			if asked.Load() != 1 {
				t.Errorf("%d to %s: asked %d times", status, location, asked.Load())
			}
		}
	}
	err := send(t, netguard.Policy{}, target.URL)
	if err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("a loopback address: %v", err)
	}
	if reached.Load() != 0 {
		t.Error("the target was called")
	}
}
