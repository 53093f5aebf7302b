package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/internal/httpx"
)

// idempotencyKey is the header under which a request may be sent again.
const idempotencyKey = "Idempotency-Key"

// beside is another node of the same data folder, at an address of its own.
func (i *installation) beside(env ...string) *installation {
	GinkgoHelper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = listener.Close() }()
	return &installation{dir: i.dir, addr: listener.Addr().String(), env: append(append([]string{}, i.env...), env...)}
}

// provider is a well-behaved model provider for the length of the spec.
func provider() *gatewaytest.Server {
	upstream := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
	DeferCleanup(upstream.Close)
	return upstream
}

// keyed is a header with a fresh Idempotency-Key.
func keyed() header { return header{idempotencyKey: uuid.NewString()} }

// eventPosition is the answer's X-Event-Position.
func (r reply) eventPosition() int64 {
	GinkgoHelper()
	position, err := strconv.ParseInt(r.header.Get("X-Event-Position"), 10, 64)
	Expect(err).NotTo(HaveOccurred(), "%d %s", r.status, r.body)
	return position
}

// nextCursor is the cursor of the page after this one, empty where it is the last.
func (r reply) nextCursor() string {
	GinkgoHelper()
	var envelope struct {
		Meta struct {
			Pagination struct {
				NextCursor *string `json:"next_cursor"`
			} `json:"pagination"`
		} `json:"meta"`
	}
	Expect(json.Unmarshal([]byte(r.body), &envelope)).To(Succeed(), r.body)
	if envelope.Meta.Pagination.NextCursor == nil {
		return ""
	}
	return *envelope.Meta.Pagination.NextCursor
}

// report is the answer of /health.
func (r reply) report() httpx.Report {
	var report httpx.Report
	_ = json.Unmarshal([]byte(r.body), &report)
	return report
}

// listAll is every provider of the token's tenant, page by page, as of a position.
func (i *installation) listAll(token string, position int64) []map[string]any {
	GinkgoHelper()
	var all []map[string]any
	cursor := ""
	for {
		page := i.must(http.MethodGet, providersPath+"?limit=500"+cursor, token, nil, atLeast(position))
		Expect(page.status).To(Equal(http.StatusOK), page.body)
		Expect(page.header).NotTo(HaveKey("X-Projection-Lag"))
		all = append(all, page.list()...)
		next := page.nextCursor()
		if next == "" {
			return all
		}
		cursor = "&cursor=" + url.QueryEscape(next)
	}
}

// atLeast asks for a read that shows a position.
func atLeast(position int64) header {
	return header{"X-Min-Position": strconv.FormatInt(position, 10)}
}

// names are the names of listed providers.
func names(list []map[string]any) []string {
	found := make([]string, len(list))
	for i := range list {
		found[i], _ = list[i]["name"].(string)
	}
	return found
}

// stateOfHealth is the status in /health, and what it says of one component.
func (i *installation) stateOfHealth(component string) func() (string, error) {
	return func() (string, error) {
		r, err := i.call(http.MethodGet, "/health", "", nil)
		if err != nil {
			return "", err
		}
		report := r.report()
		return report.Status + ", " + component + " " + report.Components[component].Status, nil
	}
}

// logged is what a spec needs to know of an event.
type logged struct {
	Stream    string
	Type      string
	Position  int64
	CommandID uuid.UUID
	// Name and RPM are those of a provider's configuration, where the event has one.
	Name *string
	RPM  *int64
}

// log is the chain of a tenant, read by the database's owner.
func (i *installation) log(tenant string) []logged {
	GinkgoHelper()
	return logAt(ownerURL(i), tenant)
}

// logAt is log for who knows the owner's connection string already.
func logAt(owner, tenant string) []logged {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	conn, err := pgx.Connect(ctx, owner)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `select stream, type, position, command_id,
		case when type like 'provider.%' then convert_from(data, 'UTF8')::jsonb ->> 'name' end as name,
		case when type = 'provider.updated.v1' then (convert_from(data, 'UTF8')::jsonb ->> 'rate_limit_rpm')::bigint end as rpm
		from events where tenant_id = $1 order by position`, tenant)
	Expect(err).NotTo(HaveOccurred())
	events, err := pgx.CollectRows(rows, pgx.RowToStructByName[logged])
	Expect(err).NotTo(HaveOccurred())
	for index := range events {
		if events[index].Position != int64(index+1) { // an assertion for each of thousands would take seconds
			Fail(fmt.Sprintf("position %d stands where %d belongs", events[index].Position, index+1))
		}
	}
	return events
}

// expectVerified runs `archon audit verify` and expects it to find nothing.
func (i *installation) expectVerified(tenant string) {
	GinkgoHelper()
	stdout, stderr, code := i.run("audit", "verify", "--tenant", tenant)
	Expect(code).To(Equal(0), stdout+stderr)
	Expect(stdout).To(HavePrefix(tenant + ": ok, "))
}

// process is a line of ps.
type process struct {
	pid, parent int
	state       string
	command     string
}

func (p process) isZombie() bool { return strings.HasPrefix(p.state, "Z") }

// processes lists what runs on the machine.
func processes() []process {
	GinkgoHelper()
	out, err := exec.Command("ps", "-axo", "pid=,ppid=,stat=,command=").Output()
	Expect(err).NotTo(HaveOccurred())
	var list []process
	for line := range strings.Lines(string(out)) {
		var p process
		fields := strings.Fields(line)
		const columns = 4
		if len(fields) < columns {
			continue
		}
		_, err := fmt.Sscan(fields[0]+" "+fields[1], &p.pid, &p.parent)
		Expect(err).NotTo(HaveOccurred(), line)
		p.state, p.command = fields[2], strings.Join(fields[3:], " ")
		list = append(list, p)
	}
	return list
}

// isAlive tells whether a process runs; a zombie does not.
func isAlive(pid int) bool {
	GinkgoHelper()
	for _, p := range processes() {
		if p.pid == pid {
			return !p.isZombie()
		}
	}
	return false
}

// childOf is the child of a process whose command line contains a text, or 0.
func childOf(parent int, text string) int {
	GinkgoHelper()
	for _, p := range processes() {
		if p.parent == parent && !p.isZombie() && strings.Contains(p.command, text) {
			return p.pid
		}
	}
	return 0
}

// cluster is the folder of the embedded PostgreSQL, which has to run.
func (i *installation) cluster() string {
	GinkgoHelper()
	var dir string
	asOwner(i, func(ctx context.Context, conn *pgx.Conn) {
		Expect(conn.QueryRow(ctx, "show data_directory").Scan(&dir)).To(Succeed())
	})
	return dir
}

// atOnce runs work for 0 to n-1 on goroutines that start together, and returns when all have ended.
func atOnce(n int, work func(index int)) {
	var ready, running sync.WaitGroup
	ready.Add(n)
	for index := range n {
		running.Go(func() {
			defer GinkgoRecover()
			ready.Done()
			ready.Wait()
			work(index)
		})
	}
	running.Wait()
}
