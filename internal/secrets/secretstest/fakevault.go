package secretstest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// AllRequests is what to [FakeVault.Count] for all requests, also those that a fault kept from their handler.
const AllRequests = "*"

const (
	tokenHeader     = "X-Vault-Token"
	namespaceHeader = "X-Vault-Namespace"

	// statusAsAsked is what sys/health answers for a state whose code the client set (api.Client sets all to this).
	statusAsAsked = 299

	rebindTries = 50
	rebindPause = 20 * time.Millisecond
)

// FakeVault is a Vault server in the test: KV version 2 at one mount, tokens with leases, AppRole logins, one policy.
// All methods are safe while requests are served.
type FakeVault struct {
	address string

	mu      sync.Mutex
	server  *httptest.Server
	kv      map[string]*fakeSecret
	tokens  map[string]*fakeToken
	roles   map[string]fakeRole
	faults  faults
	counts  map[string]int
	root    string
	ended   chan struct{} // closed by Close, to let delayed answers go
	closing sync.Once
}

// faults is what the server is told to do wrong, or more strictly than usual.
type faults struct {
	sealed       bool
	kvVersion1   bool
	casRequired  bool
	namespace    string
	deniedPrefix string
	denyLookup   bool
	status       int
	body         string
	delay        time.Duration
	lostAnswers  int
}

// NewFakeVault starts a server on a free port of the loopback interface. End it with Close.
func NewFakeVault() *FakeVault {
	fake := &FakeVault{
		kv: map[string]*fakeSecret{}, tokens: map[string]*fakeToken{}, roles: map[string]fakeRole{},
		counts: map[string]int{}, root: "hvs.root-" + uuid.NewString(), ended: make(chan struct{}),
	}
	fake.tokens[fake.root] = &fakeToken{}
	fake.server = httptest.NewServer(fake)
	fake.address = fake.server.Listener.Addr().String()

	return fake
}

// URL is the address to give to a client; it stays the same over Stop and Start.
func (f *FakeVault) URL() string { return "http://" + f.address }

// RootToken may do everything and never ends.
func (f *FakeVault) RootToken() string { return f.root }

// Close ends the server for good. It may be called twice, and after Stop.
func (f *FakeVault) Close() {
	f.closing.Do(func() { close(f.ended) })
	f.Stop()
}

// Stop makes the server refuse connections, as a Vault that is down does.
func (f *FakeVault) Stop() {
	f.mu.Lock()
	server := f.server
	f.server = nil
	f.mu.Unlock()

	if server != nil {
		server.CloseClientConnections()
		server.Close()
	}
}

// Start brings a stopped server back at its address, with all that it knew.
func (f *FakeVault) Start() error {
	var (
		listener net.Listener
		err      error
	)

	for range rebindTries { // the port is free again a moment after Stop
		if listener, err = net.Listen("tcp", f.address); err == nil {
			break
		}

		<-time.After(rebindPause)
	}

	if err != nil {
		return fmt.Errorf("listen again: %w", err)
	}

	server := httptest.NewUnstartedServer(f)
	if err := server.Listener.Close(); err != nil {
		return fmt.Errorf("listen again: %w", err)
	}

	server.Listener = listener
	server.Start()

	f.mu.Lock()
	f.server = server
	f.mu.Unlock()

	return nil
}

// Seal makes the server answer as a sealed Vault; Seal(false) unseals it.
func (f *FakeVault) Seal(sealed bool) { f.change(func(x *faults) { x.sealed = sealed }) }

// Deny makes the policy refuse all paths that begin with prefix (such as "secret/data/x"); "" allows all again.
func (f *FakeVault) Deny(prefix string) { f.change(func(x *faults) { x.deniedPrefix = prefix }) }

// DenyLookup makes the policy refuse the lookup of the own token, which Vault's "default" policy allows.
func (f *FakeVault) DenyLookup(deny bool) { f.change(func(x *faults) { x.denyLookup = deny }) }

// Answer makes the server answer every request with this status and body; status 0 ends that.
func (f *FakeVault) Answer(status int, body string) {
	f.change(func(x *faults) { x.status, x.body = status, body })
}

// Delay makes every answer take that long; 0 ends that.
func (f *FakeVault) Delay(delay time.Duration) { f.change(func(x *faults) { x.delay = delay }) }

// LoseAnswers makes the server do what the next n requests ask and cut the connection instead of answering.
func (f *FakeVault) LoseAnswers(n int) { f.change(func(x *faults) { x.lostAnswers = n }) }

// RequireNamespace makes the server know only this namespace.
func (f *FakeVault) RequireNamespace(name string) { f.change(func(x *faults) { x.namespace = name }) }

// RequireCAS sets the mount's cas_required.
func (f *FakeVault) RequireCAS(required bool) { f.change(func(x *faults) { x.casRequired = required }) }

// BecomeVersion1 makes the mount a KV version 1 engine.
func (f *FakeVault) BecomeVersion1() { f.change(func(x *faults) { x.kvVersion1 = true }) }

// Count returns how many requests "METHOD path" got past the faults, such as "PUT auth/approle/login".
func (f *FakeVault) Count(request string) int {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.counts[request]
}

func (f *FakeVault) change(set func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()

	set(&f.faults)
}

// ServeHTTP implements http.Handler.
func (f *FakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.counts[AllRequests]++
	now := f.faults
	if now.lostAnswers > 0 {
		f.faults.lostAnswers--
	}
	f.mu.Unlock()

	if now.delay > 0 {
		select {
		case <-time.After(now.delay):
		case <-r.Context().Done():
		case <-f.ended:
		}
	}

	answer := f.serve(now, r)
	if now.lostAnswers > 0 {
		panic(http.ErrAbortHandler)
	}

	answer.write(w)
}

// serve works a request off in Vault's order: seal, namespace, login, token, policy, engine.
func (f *FakeVault) serve(now faults, r *http.Request) answer {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")

	switch {
	case now.status != 0:
		return answer{status: now.status, raw: now.body}
	case path == "sys/health":
		return healthAnswer(now)
	case now.sealed:
		return refuse(http.StatusServiceUnavailable, "Vault is sealed")
	case r.Header.Get(namespaceHeader) != now.namespace:
		return noHandler(path)
	}

	var body map[string]any
	if r.Body != nil && r.ContentLength != 0 {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return refuse(http.StatusBadRequest, "error parsing JSON")
		}
	}

	f.mu.Lock()
	defer f.mu.Unlock()

	f.counts[r.Method+" "+path]++

	if path == "auth/approle/login" {
		return f.logIn(body)
	}

	token, alive := f.tokens[r.Header.Get(tokenHeader)]
	if !alive || token.ended(time.Now()) {
		return refuse(http.StatusForbidden, "permission denied")
	}

	denied := now.deniedPrefix != "" && strings.HasPrefix(path, now.deniedPrefix)
	if denied || now.denyLookup && path == "auth/token/lookup-self" {
		return refuse(http.StatusForbidden, "1 error occurred:\n\t* permission denied\n\n")
	}

	return f.route(now, request{method: r.Method, path: path, query: r.URL.Query(), body: body}, token)
}

func (f *FakeVault) route(now faults, r request, token *fakeToken) answer {
	engine, rest, _ := strings.Cut(r.path, "/")

	switch {
	case r.path == "auth/token/lookup-self":
		return token.lookUp(time.Now())
	case r.path == "auth/token/renew-self":
		return token.renew(time.Now(), r.body)
	case r.path == "sys/internal/ui/mounts/"+fakeMount:
		return mountAnswer(now)
	case strings.HasPrefix(r.path, "sys/internal/ui/mounts/"):
		return refuse(http.StatusForbidden, "preflight capability check returned 403, please ensure client's "+
			"policies grant access to path \""+strings.TrimPrefix(r.path, "sys/internal/ui/mounts/")+"/\"")
	case engine != fakeMount:
		return noHandler(r.path)
	case now.kvVersion1:
		return answer{status: http.StatusNoContent}
	default:
		r.path = rest

		return f.serveKV(now, r)
	}
}

// answer is a response: fields of Vault's frame, or raw bytes.
type answer struct {
	status int
	frame  map[string]any
	raw    string
}

func ok(data map[string]any) answer {
	return answer{status: http.StatusOK, frame: map[string]any{"data": data}}
}

// refuse answers with errors; none of them is what Vault says where there is nothing at a path.
func refuse(status int, messages ...string) answer {
	if messages == nil {
		messages = []string{}
	}

	return answer{status: status, frame: map[string]any{"errors": messages}}
}

func noHandler(path string) answer {
	return refuse(http.StatusNotFound, fmt.Sprintf("no handler for route %q. route entry not found.", path))
}

func (a answer) write(w http.ResponseWriter) {
	text := []byte(a.raw)

	if a.frame != nil {
		if _, failed := a.frame["errors"]; !failed {
			a.frame["request_id"] = uuid.NewString()
		}

		var err error
		if text, err = json.Marshal(a.frame); err != nil {
			panic(errors.Join(http.ErrAbortHandler, err))
		}
	}

	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(a.status)
	_, _ = w.Write(text) // the client is gone
}

func healthAnswer(now faults) answer {
	status := http.StatusOK
	if now.sealed {
		status = statusAsAsked
	}

	return answer{status: status, frame: map[string]any{
		"initialized": true, "sealed": now.sealed, "standby": now.sealed, "performance_standby": false,
		"server_time_utc": time.Now().Unix(), "version": "1.14.0",
	}}
}

func mountAnswer(now faults) answer {
	version := "2"
	if now.kvVersion1 {
		version = "1"
	}

	return ok(map[string]any{"path": fakeMount + "/", "type": "kv", "options": map[string]any{"version": version}})
}
