package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/cmd/archon/cli"
)

// actAsArchon makes the test binary be Archon, so that the tests run, kill and restart real processes.
const actAsArchon = "TEST_ACT_AS_ARCHON"

func TestMain(m *testing.M) {
	if os.Getenv(actAsArchon) != "" {
		os.Exit(cli.Run(context.Background(), cli.Process{
			Version: "test", Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		}))
	}
	os.Exit(m.Run())
}

func TestCLI(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Archon, the program")
}

// bound is how long anything may take on a busy machine before a test gives up on it.
const bound = 60 * time.Second

// installation is a data folder with an address: what survives a process.
type installation struct {
	dir  string
	addr string
	env  []string
}

// install makes a new data folder.
func install(env ...string) *installation {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	addr := listener.Addr().String()
	Expect(listener.Close()).To(Succeed())
	dir, err := os.MkdirTemp("", "archon-e2e-")
	Expect(err).NotTo(HaveOccurred())
	const searchable = 0o711 // by the user that PostgreSQL runs as where this is root: the cluster is to lie in the folder
	Expect(os.Chmod(dir, searchable)).To(Succeed())
	i := &installation{dir: dir, addr: addr, env: env}
	DeferCleanup(func() {
		i.stopDatabase()
		Expect(os.RemoveAll(dir)).To(Succeed())
	})
	return i
}

// stopDatabase ends a PostgreSQL that a killed Archon has left behind, by being the last one out.
func (i *installation) stopDatabase() {
	_, _ = i.command("migrate").CombinedOutput() // the database may never have been made
}

// command is an archon command on this installation.
func (i *installation) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...) // the test binary itself
	cmd.Env = append(baseEnvironment(), append([]string{
		actAsArchon + "=1", "ARCHON_DATA_DIR=" + i.dir, "ARCHON_HTTP_ADDR=" + i.addr, "ARCHON_PROBE_INTERVAL=1h",
	}, i.env...)...)
	return cmd
}

// baseEnvironment is this process's, without settings of Archon's.
func baseEnvironment() []string {
	var kept []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "ARCHON_") {
			kept = append(kept, variable)
		}
	}
	if os.Getenv("GOCOVERDIR") == "" {
		kept = append(kept, "GOCOVERDIR="+uncounted())
	}
	return kept
}

// uncounted is where children built with -cover leave what nobody asked for; without it they say so on stderr.
var uncounted = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "archon-cover-")
	if err != nil {
		panic(err)
	}
	return dir
})

// run runs a command to its end.
func (i *installation) run(args ...string) (stdout, stderr string, code int) {
	GinkgoHelper()
	cmd := i.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, exited := err.(*exec.ExitError); err != nil && !exited { //nolint:errorlint // Run returns it as it is
		Fail("run archon: " + err.Error())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// token is a token of the embedded issuer.
func (i *installation) token(tenant, user string, roles ...string) string {
	GinkgoHelper()
	stdout, stderr, code := i.run("token", "--tenant", tenant, "--user", user, "--role", strings.Join(roles, ","))
	Expect(code).To(Equal(0), stderr)
	Expect(stderr).To(BeEmpty())
	return strings.TrimSuffix(stdout, "\n")
}

// archon is a running process.
type archon struct {
	*installation
	cmd    *exec.Cmd
	output *output
	exited chan struct{}
}

// output keeps what a process prints while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p) //nolint:wrapcheck // a buffer
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start starts Archon and waits until it is well.
func (i *installation) start(args ...string) *archon {
	GinkgoHelper()
	if len(args) == 0 {
		args = []string{"dev"}
	}
	a := &archon{installation: i, cmd: i.command(args...), output: &output{}, exited: make(chan struct{})}
	a.cmd.Stdout, a.cmd.Stderr = a.output, a.output
	Expect(a.cmd.Start()).To(Succeed())
	go func() {
		_ = a.cmd.Wait()
		close(a.exited)
	}()
	DeferCleanup(func() {
		a.kill()
		Expect(a.output.String()).NotTo(ContainSubstring("DATA RACE"))
		if CurrentSpecReport().Failed() {
			AddReportEntry("what archon "+strings.Join(args, " ")+" at "+i.addr+" said last", tailOf(a.output.String()))
		}
	})
	Eventually(func() error {
		select {
		case <-a.exited:
			return StopTrying("archon ended: " + a.output.String())
		default:
		}
		response, err := http.Get("http://" + i.addr + "/health")
		if err != nil {
			return err //nolint:wrapcheck // shown as it is
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", response.StatusCode)
		}
		return nil
	}).WithTimeout(bound).WithPolling(20 * time.Millisecond).Should(Succeed())
	return a
}

// tailOf is the end of a text that may be very long.
func tailOf(text string) string {
	const enough = 8 << 10
	return text[max(0, len(text)-enough):]
}

// kill is kill -9.
func (a *archon) kill() {
	_ = a.cmd.Process.Kill()
	<-a.exited
}

// terminate is SIGTERM; it returns the exit code.
func (a *archon) terminate() int {
	GinkgoHelper()
	Expect(a.cmd.Process.Signal(syscall.SIGTERM)).To(Succeed())
	Eventually(a.exited).WithTimeout(bound).Should(BeClosed())
	return a.cmd.ProcessState.ExitCode()
}

// reply is an HTTP answer, read whole.
type reply struct {
	status int
	header http.Header
	body   string
}

// data is the answer's data.
func (r reply) data() map[string]any {
	GinkgoHelper()
	var envelope struct {
		Data map[string]any `json:"data"`
	}
	Expect(json.Unmarshal([]byte(r.body), &envelope)).To(Succeed(), r.body)
	return envelope.Data
}

// list is the answer's data where that is a list.
func (r reply) list() []map[string]any {
	GinkgoHelper()
	var envelope struct {
		Data []map[string]any `json:"data"`
	}
	Expect(json.Unmarshal([]byte(r.body), &envelope)).To(Succeed(), r.body)
	return envelope.Data
}

// code is the code of the answer's error.
func (r reply) code() string {
	var envelope struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal([]byte(r.body), &envelope)
	return envelope.Error.Code
}

type header map[string]string

// call sends a request; body may be nil, a string that is sent as it is, or anything that becomes JSON.
func (i *installation) call(method, path, token string, body any, headers ...header) (reply, error) {
	var reader io.Reader = http.NoBody
	switch sent := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(sent)
	default:
		encoded, err := json.Marshal(sent)
		if err != nil {
			return reply{}, err //nolint:wrapcheck // shown as it is
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, "http://"+i.addr+path, reader) // bounded by the client
	if err != nil {
		return reply{}, err //nolint:wrapcheck // shown as it is
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		for name, value := range h {
			request.Header.Set(name, value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		return reply{}, err //nolint:wrapcheck // shown as it is
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return reply{status: response.StatusCode, header: response.Header, body: string(text)}, err //nolint:wrapcheck // shown as it is
}

var client = &http.Client{Timeout: bound, Transport: &http.Transport{MaxIdleConnsPerHost: 100}}

// must is call for requests whose connection must not fail.
func (i *installation) must(method, path, token string, body any, headers ...header) reply {
	GinkgoHelper()
	r, err := i.call(method, path, token, body, headers...)
	Expect(err).NotTo(HaveOccurred())
	return r
}
