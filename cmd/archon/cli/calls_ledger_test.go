package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"syscall"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
)

var _ = Describe("The ledger of an Archon killed in the middle of calls", Label("e2e"), func() {
	const (
		rounds  = 4
		callers = 16
		// least and most bound how many whole answers a round waits for before it kills.
		least, most = 20, 120
	)

	It("has what providers served and recorded calls consumed, to the last 10⁻¹⁰ USD, and its check says so", func() {
		place := install()
		running := place.start()
		c := place.customer()
		filtering, serving := newInvoicing(true), newInvoicing(false)
		first, second := c.registers("Filtering", "openai", filtering.URL), c.registers("Serving", "openai", serving.URL)
		c.chains(1000, 1, 1, allTriggers, first, second)
		c.sends(first)
		key, _ := c.makesKey(nil)
		dir, owner := place.cluster(), ownerURL(place)
		w := &crowd{places: []*installation{place}, token: key}
		invoices := map[string]*invoicing{first: filtering, second: serving}
		for round := range rounds {
			enough := w.whole() + least + rand.IntN(most-least)
			w.during(callers, func() {
				Eventually(w.whole).WithTimeout(bound).WithPolling(time.Millisecond).Should(BeNumerically(">=", enough))
				running.kill()
				if round == rounds-1 {
					Expect(syscall.Kill(postmasterIn(dir), syscall.SIGKILL)).To(Succeed())
				}
			})
			running = place.start()
			log := callsAt(owner, c.name)
			c.must(http.MethodGet, dashboardPath, c.admin, nil, header{"X-Min-Position": strconv.FormatInt(headOf(owner, c.name), 10)})
			w.settleInvoices(owner, c.name, log, invoices)
		}
		Expect(w.cut()).To(BeNumerically(">=", rounds), "the kills must have hit callers")

		By("checking it")
		log := callsAt(owner, c.name)
		sum, failedOver := domain.Amount(0), 0
		for _, call := range log {
			sum += filtering.of(call.correlation).cost + serving.of(call.correlation).cost
			failedOver += len(call.Attempts) - 1
		}
		Expect(failedOver).To(BeNumerically(">", rounds))
		stdout, stderr, code := place.run("costs", "check")
		Expect(code).To(Equal(good), stdout+stderr)
		Expect(stdout).To(ContainSubstring(fmt.Sprintf("%s: ok, %d calls, %s USD, 0 without a price", c.name, len(log), sum)))
		AddReportEntry("kill -9 beside the ledger", fmt.Sprintf("%d rounds: %d calls of %s USD in the ledger, %d of them failed over, %d served in vain",
			rounds, len(log), sum, failedOver, filtering.served()+serving.served()-len(log)-failedOver))

		By("tampering with a row of either table")
		ctx, conn := connect(owner)
		position := one[int64](ctx, conn, `select recorded_position from token_ledger where tenant_id = $1 order by recorded_position offset 10 limit 1`, c.name)
		_, err := conn.Exec(ctx, `update token_ledger set cost_usd = cost_usd + 0.0000000001 where tenant_id = $1 and recorded_position = $2`, c.name, position)
		Expect(err).NotTo(HaveOccurred())
		_, err = conn.Exec(ctx, `update cost_daily set completion_tokens = completion_tokens - 1 where tenant_id = $1 and dimension = 'provider' and key = $2`, c.name, second)
		Expect(err).NotTo(HaveOccurred())
		stdout, _, code = place.run("costs", "check", "--tenant", c.name)
		Expect(code).To(Equal(failed), stdout)
		Expect(stdout).To(And(
			ContainSubstring("position %d: cost_usd is", position), MatchRegexp(`provider "%s": completion_tokens is \d+ in the sums of days, and the log comes to \d+`, second),
			MatchRegexp(`%s: \d DIFFERENCES`, c.name)))
	})
})

// headOf is the last position of a tenant's chain.
func headOf(owner, tenant string) int64 {
	GinkgoHelper()
	ctx, conn := connect(owner)
	return one[int64](ctx, conn, `select position from chain_heads where tenant_id = $1`, tenant)
}

// settleInvoices holds the ledger against what the providers say they have served: each recorded call has its row, which
// costs what they charge for it, and each of them gets in the sums what it charges for those calls. What was served and is
// in no row was cut off by a kill.
func (w *crowd) settleInvoices(owner, tenant string, log []recorded, invoices map[string]*invoicing) {
	GinkgoHelper()
	ctx, conn := connect(owner)
	rows := map[string]string{}
	for _, row := range rowsOf[[2]string](conn.Query(ctx, `select array[id::text, cost_usd || ' ' || prompt_tokens || ' ' || completion_tokens] from token_ledger where tenant_id = $1`, tenant)) {
		rows[row[0]] = row[1]
	}
	Expect(rows).To(HaveLen(len(log)), "a row a call")
	known, charged := map[string]bool{}, map[string]invoice{}
	var total invoice
	for _, call := range log {
		known[call.correlation] = true
		var sum invoice
		for id, provider := range invoices {
			one := provider.of(call.correlation)
			sum, charged[id] = sum.plus(one), charged[id].plus(one)
		}
		total = total.plus(sum)
		if rows[call.CallID] != sum.String() {
			Fail(fmt.Sprintf("call %s is %q in the ledger, and its providers charge %q: %+v", call.CallID, rows[call.CallID], sum, call.Recorded))
		}
	}
	for _, answer := range w.answers {
		if !known[answer.correlation] {
			Fail("the client had the whole of an answer that is not in the log: " + answer.callID())
		}
	}
	for id := range invoices {
		Expect(one[string](ctx, conn, `select sum(spend_usd) || ' ' || sum(prompt_tokens) || ' ' || sum(completion_tokens) from cost_daily
			where tenant_id = $1 and dimension = 'provider' and key = $2`, tenant, id)).To(Equal(charged[id].String()), "the invoice of a provider")
	}
	Expect(one[string](ctx, conn, `select sum(spend_usd) || ' ' || sum(prompt_tokens) || ' ' || sum(completion_tokens) from cost_daily
		where tenant_id = $1 and dimension = 'total'`, tenant)).To(Equal(total.String()))
	lost := 0
	for _, provider := range invoices {
		for _, correlation := range provider.correlations() {
			if !known[correlation] {
				lost++
			}
		}
	}
	Expect(lost).To(BeNumerically("<=", len(invoices)*w.cut()), "only what a kill hit may be missing")
}

// invoice is what a provider charges for.
type invoice struct {
	cost               domain.Amount
	prompt, completion int64
}

func (i invoice) plus(other invoice) invoice {
	return invoice{i.cost + other.cost, i.prompt + other.prompt, i.completion + other.completion}
}

func (i invoice) String() string {
	return fmt.Sprint(i.cost.String(), " ", i.prompt, " ", i.completion)
}

// invoicing is an OpenAI that writes an invoice by the correlation of each request. Where it filters, it withholds every
// third answer, and charges for it nevertheless.
type invoicing struct {
	*httptest.Server

	filters  bool
	mu       sync.Mutex
	requests int
	invoices map[string]invoice
}

func newInvoicing(filters bool) *invoicing {
	i := &invoicing{filters: filters, invoices: map[string]invoice{}}
	i.Server = httptest.NewServer(http.HandlerFunc(i.serve))
	DeferCleanup(i.Close)
	return i
}

func (i *invoicing) of(correlation string) invoice {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.invoices[correlation]
}

func (i *invoicing) correlations() (all []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for correlation := range i.invoices {
		all = append(all, correlation)
	}
	return all
}

func (i *invoicing) served() int { return len(i.correlations()) }

func (i *invoicing) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"`+cheapModel+`","object":"model","created":1,"owned_by":"openai"}]}`)
		return
	}
	var sent struct {
		Stream bool `json:"stream"`
	}
	_ = json.NewDecoder(r.Body).Decode(&sent)
	i.mu.Lock()
	i.requests++
	number := int64(i.requests)
	fresh, cached, output := 10+number%977, number%31, 1+number*7%353
	// gpt-4o-mini costs 0.15 USD per million in, 0.075 cached, 0.6 out.
	const perInput, perCached, perOutput = 1500, 750, 6000
	i.invoices[r.Header.Get("X-Correlation-ID")] = invoice{domain.Amount(fresh*perInput + cached*perCached + output*perOutput), fresh + cached, output}
	i.mu.Unlock()
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d}}`,
		fresh+cached, output, fresh+cached+output, cached)
	const text, head = "one two three four", `{"id":"c","created":1,"model":"` + cheapModel + `",`
	if !sent.Stream {
		content, reason := text, "stop"
		if i.filters && number%3 == 0 {
			content, reason = "", "content_filter"
		}
		fmt.Fprintf(w, head+`"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":%q}],%s}`, content, reason, usage)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	const chunk = "data: " + head + `"object":"chat.completion.chunk",`
	fmt.Fprintf(w, chunk+`"choices":[{"index":0,"delta":{"role":"assistant","content":%q},"finish_reason":null}]}`+"\n\n", text)
	fmt.Fprint(w, chunk+`"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n")
	fmt.Fprint(w, chunk+`"choices":[],`+usage+"}\n\ndata: [DONE]\n\n")
}
