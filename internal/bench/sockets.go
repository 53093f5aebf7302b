package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
)

// Defaults of SocketsConfig, which the targets are defined for.
const (
	defaultSockets       = 2000
	defaultSocketRate    = 20
	defaultSocketsLength = 10 * time.Second
)

// SocketsConfig says how to measure sockets.
type SocketsConfig struct {
	GatewayConfig

	// Sockets is how many are open at once; 0 means 2,000. Rate is the events a second; 0 means 20.
	Sockets, Rate int
}

// SocketsResult is one line of the results of Sockets.
type SocketsResult struct {
	Bench   string `json:"bench"`
	Sockets int    `json:"sockets"`
	Rate    int    `json:"rate"`
	// Delivered counts events times sockets; Missing those that did not come.
	Delivered int `json:"delivered"`
	Missing   int `json:"missing"`
	// Times are milliseconds from an event's occurred_at, which is before its commit, to its arrival in the client.
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	Slowest float64 `json:"max_ms"`
	// RSS is the most resident memory of the Archon process, in MB of 10⁶ bytes, and PerSocket, in kB of 10³ bytes, by how
	// much more it is than before the sockets were opened, for each: at rest, and at most. Of few sockets it says nothing.
	RSS           float64 `json:"rss_mb"`
	PerSocketRest float64 `json:"kb_a_socket_at_rest,omitempty"`
	PerSocketMost float64 `json:"kb_a_socket_at_most,omitempty"`
	// CPU is the processor time that the Archon process used, as a share of one core.
	CPU float64 `json:"cpu_cores"`
}

// Sockets measures the delivery of events that are appended over the API of a child Archon, which runs as `archon dev` in a
// data folder that is removed afterwards, to many sockets of one tenant that are all at the log's end: first to one socket,
// which is what the log itself takes, then to all. This process is the client, and takes its share of the machine.
func Sockets(ctx context.Context, config SocketsConfig) (err error) {
	config.Sockets = cmp.Or(config.Sockets, defaultSockets)
	config.Rate = cmp.Or(config.Rate, defaultSocketRate)
	config.Duration = cmp.Or(config.Duration, defaultSocketsLength)
	config.Rounds = 1
	place, err := newPlace(ctx, config.GatewayConfig)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.remove()) }()
	child, err := place.start(ctx, "durable")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, child.stop()) }()
	environment, err := config.environment(ctx, place)
	if err != nil {
		return err
	}
	writer, err := newSocketWriter(ctx, child)
	if err != nil {
		return err
	}
	var results []SocketsResult
	for _, sockets := range []int{1, config.Sockets} {
		result, err := config.measure(ctx, child, writer, sockets)
		if err != nil {
			return err
		}
		results = append(results, result)
	}
	if config.JSON {
		return writeLines(config.Out, environment, results)
	}
	return config.table(environment, results)
}

// socketWriter appends events: each changes a provider.
type socketWriter struct {
	api  administration
	path string
	turn int
}

func newSocketWriter(ctx context.Context, child *child) (*socketWriter, error) {
	token, err := child.run(ctx, "token", "--tenant", benchTenant, "--user", "bench", "--role", "admin")
	if err != nil {
		return nil, err
	}
	api := administration{base: "http://" + child.addr + "/api/v1", token: token}
	made, err := api.send(ctx, http.MethodPost, "/router/providers", object{"name": "Bench", "type": "ollama", "base_url": "http://127.0.0.1:1"})
	if err != nil {
		return nil, err
	}
	id, _ := made["id"].(string)
	return &socketWriter{api: api, path: "/router/providers/" + id}, nil
}

func (w *socketWriter) write(ctx context.Context) error {
	w.turn++
	_, err := w.api.send(ctx, http.MethodPatch, w.path, object{"rate_limit_rpm": w.turn})
	return err
}

// measure opens sockets, appends for the configured time, and sums up.
func (c SocketsConfig) measure(ctx context.Context, child *child, writer *socketWriter, sockets int) (SocketsResult, error) {
	result := SocketsResult{Bench: "sockets", Sockets: sockets, Rate: c.Rate}
	process := child.process()
	before := process.rss()
	events := int(c.Duration.Seconds() * float64(c.Rate))
	receiving := &receivers{url: "ws://" + child.addr + "/ws/events?streams=provider-*", token: writer.api.token, events: events, patience: c.Duration + startTimeout}
	defer receiving.close()
	if err := receiving.open(ctx, sockets); err != nil {
		return result, err
	}
	const rest = time.Second // for memory to settle
	select {
	case <-ctx.Done():
		return result, context.Cause(ctx) //nolint:wrapcheck // why the run ends
	case <-time.After(rest):
	}
	result.PerSocketRest = perSocket(process.rss()-before, sockets)
	stop, err := process.watch(ctx)
	if err != nil {
		return result, err
	}
	begun := time.Now()
	if err := c.append(ctx, writer, events); err != nil {
		_, _, _ = stop()
		return result, err
	}
	delays := receiving.wait()
	most, used, err := stop()
	if err != nil {
		return result, err
	}
	result.RSS, result.PerSocketMost = math.Round(most), perSocket(most-before, sockets)
	result.CPU = rounded(used.Seconds() / time.Since(begun).Seconds())
	result.Delivered, result.Missing = len(delays), events*sockets-len(delays)
	if len(delays) > 0 {
		slices.Sort(delays)
		result.P50, result.P99, result.Slowest = millis(percentile(delays, 50)), millis(percentile(delays, 99)), millis(delays[len(delays)-1])
	}
	return result, nil
}

func perSocket(mega float64, sockets int) float64 {
	const kilo, few = 1000, 100
	if sockets < few {
		return 0
	}
	return math.Round(mega * kilo / float64(sockets))
}

// append appends at the rate, whatever each append takes.
func (c SocketsConfig) append(ctx context.Context, writer *socketWriter, events int) error {
	ticker := time.NewTicker(time.Second / time.Duration(c.Rate))
	defer ticker.Stop()
	for range events {
		select {
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // why the run ends
		case <-ticker.C:
		}
		if err := writer.write(ctx); err != nil {
			return err
		}
	}
	return nil
}

// receivers are the clients.
type receivers struct {
	url, token string
	events     int
	patience   time.Duration
	conns      []*websocket.Conn
	group      sync.WaitGroup
	mu         sync.Mutex
	delays     []time.Duration
}

// open opens sockets, so many at a time, and waits until each is at the log's end.
func (r *receivers) open(ctx context.Context, sockets int) error {
	const atOnce = 32
	r.delays = make([]time.Duration, 0, sockets*r.events)
	opening, group := make([]*websocket.Conn, sockets), errgroup.Group{}
	group.SetLimit(atOnce)
	for i := range opening {
		group.Go(func() (err error) {
			opening[i], _, err = websocket.Dial(ctx, r.url, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + r.token}}}) //nolint:bodyclose // a socket's
			if err != nil {
				return fmt.Errorf("open a socket: %w", err)
			}
			if _, _, err := opening[i].Read(ctx); err != nil { // its position
				return fmt.Errorf("open a socket: %w", err)
			}
			return nil
		})
	}
	err := group.Wait()
	for _, conn := range opening {
		if conn != nil {
			r.conns = append(r.conns, conn)
		}
	}
	if err != nil {
		return err //nolint:wrapcheck // wrapped where it is made
	}
	for _, conn := range r.conns {
		r.group.Go(func() { r.receive(ctx, conn) })
	}
	return nil
}

// receive notes how long each event took, until all have come. It does as little as it can before it reads on: what the
// clients of two thousand sockets do is in the way of what is measured.
func (r *receivers) receive(ctx context.Context, conn *websocket.Conn) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	type arrival struct {
		occurred string
		at       time.Time
	}
	arrivals := make([]arrival, 0, r.events)
	for len(arrivals) < r.events {
		_, text, err := conn.Read(ctx)
		if err != nil {
			break
		}
		now := time.Now()
		if _, after, found := bytes.Cut(text, []byte(`"occurred_at":"`)); found {
			occurred, _, _ := bytes.Cut(after, []byte(`"`))
			arrivals = append(arrivals, arrival{string(occurred), now})
		}
	}
	delays := make([]time.Duration, 0, len(arrivals))
	for _, one := range arrivals {
		if occurred, err := time.Parse(time.RFC3339Nano, one.occurred); err == nil {
			delays = append(delays, one.at.Sub(occurred))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delays = append(r.delays, delays...)
}

func (r *receivers) wait() []time.Duration {
	r.group.Wait()
	return r.delays
}

func (r *receivers) close() {
	for _, conn := range r.conns {
		_ = conn.CloseNow()
	}
	r.group.Wait()
}

func (c SocketsConfig) table(e Environment, results []SocketsResult) error {
	const padding = 2
	table := tabwriter.NewWriter(c.Out, 0, 0, padding, ' ', tabwriter.AlignRight)
	fmt.Fprintf(c.Out, "%s, %d cores, load %.1f; %s\n", e.CPU, e.Cores, e.Load, e.PostgreSQL)
	fmt.Fprintf(c.Out, "%.1f s; fsync %s, synchronous_commit %s\n\n", e.Seconds, e.Settings["fsync"], e.Settings["synchronous_commit"])
	fmt.Fprintln(table, "sockets\tevents/s\tdelivered\tmissing\tp50 ms\tp99 ms\tmax ms\tMB\tkB a socket at rest\tat most\tcores\t")
	for _, r := range results {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Sockets, r.Rate, r.Delivered, r.Missing,
			dash(r.P50), dash(r.P99), dash(r.Slowest), dash(r.RSS), dash(r.PerSocketRest), dash(r.PerSocketMost), dash(r.CPU))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}
