package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	calls "github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

const (
	chatPath       = "/v1/chat/completions"
	embeddingsPath = "/v1/embeddings"
	modelsPath     = "/v1/models"
)

// cheapModel is what specs ask for; its price is in Archon's list.
const cheapModel = "gpt-4o-mini"

type object = map[string]any

// customer is a tenant of an installation whose calls a spec makes.
type customer struct {
	*installation

	name, admin string
}

// customer makes a tenant; the installation has to run.
func (i *installation) customer() *customer {
	GinkgoHelper()
	c := &customer{installation: i, name: "t-" + uuid.NewString()[:13]}
	stdout, stderr, code := i.inProcess("token", "--tenant", c.name, "--user", "ada", "--role", "admin")
	Expect(code).To(Equal(good), stderr)
	c.admin = strings.TrimSpace(stdout)
	return c
}

// at is the customer as a client of another node.
func (c *customer) at(node *installation) *customer {
	return &customer{installation: node, name: c.name, admin: c.admin}
}

// chatting is a provider that answers with a text and goes with the spec.
func chatting(kind gateway.ProviderType, text string) *gatewaytest.Server {
	server := upstreamOf(kind, gatewaytest.Options{APIKey: canary})
	server.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: text}))
	return server
}

// registers registers a provider that can do everything but embeddings, with these fields changed, and returns its id.
func (c *customer) registers(name, kind, url string, changes ...object) string {
	GinkgoHelper()
	sent := object{
		"name": name, "type": kind, "base_url": url, "api_key": canary, "supported_models": []string{cheapModel},
		"capabilities": []string{"vision", "function_calling", "json_mode", "streaming"},
	}
	for _, change := range changes {
		maps.Copy(sent, change)
	}
	if sent["credentials"] != nil {
		delete(sent, "api_key")
	}
	r := c.must(http.MethodPost, providersPath, c.admin, sent)
	Expect(r.status).To(Equal(http.StatusCreated), r.body)
	id, _ := r.data()["id"].(string)
	return id
}

// makesKey makes an API key with these fields.
func (c *customer) makesKey(fields object) (token, id string) {
	GinkgoHelper()
	sent := object{"name": "CI"}
	maps.Copy(sent, fields)
	r := c.must(http.MethodPost, keysPath, c.admin, sent)
	Expect(r.status).To(Equal(http.StatusCreated), r.body)
	token, _ = r.data()["key"].(string)
	id, _ = r.data()["id"].(string)
	return token, id
}

// hasDepartment makes a department, unless there is one with its id.
func (c *customer) hasDepartment(id, name string) {
	GinkgoHelper()
	r := c.must(http.MethodPost, departmentsPath, c.admin, object{"id": id, "name": name})
	Expect(r.status).To(BeElementOf(http.StatusCreated, http.StatusConflict), r.body)
}

// allTriggers are all failover triggers.
var allTriggers = []string{"timeout", "rate_limit", "server_error", "content_policy"}

// chains puts providers into the fallback chain, in order, with a breaker.
func (c *customer) chains(failures, cooldown, halfOpen int, triggers []string, ids ...string) {
	GinkgoHelper()
	chain := []object{}
	for i, id := range ids {
		chain = append(chain, object{"provider_id": id, "priority": i + 1})
	}
	r := c.must(http.MethodPut, fallbackPath, c.admin, object{
		"chain": chain, "failover_triggers": triggers,
		"circuit_breaker": object{"failure_threshold": failures, "cooldown_seconds": cooldown, "half_open_max_requests": halfOpen},
	})
	Expect(r.status).To(Equal(http.StatusOK), r.body)
}

// sends makes a rule that sends everything to one provider.
func (c *customer) sends(id string) {
	GinkgoHelper()
	r := c.must(http.MethodPut, rulesPath, c.admin, object{"rules": []object{{
		"name": "All", "priority": 1, "conditions": []object{}, "action": object{"type": "direct", "providers": []object{{"provider_id": id}}},
	}}})
	Expect(r.status).To(Equal(http.StatusOK), r.body)
}

// talk is a chat's body.
func talk(prompt string, changes ...object) object {
	sent := object{"model": cheapModel, "messages": []object{{"role": "user", "content": prompt}}}
	for _, change := range changes {
		maps.Copy(sent, change)
	}
	return sent
}

// completion is what a client has of an answer of /v1.
type completion struct {
	reply

	// correlation is what the client called its request.
	correlation string
	// text is the content of the answer, as far as it came; events are the data of a stream's events without [DONE].
	text   string
	events []string
	// whole says that the last byte came: all of a body, or [DONE].
	whole bool
	// broken is the transport's error.
	broken error
}

// callID is the id under which the call is in the log.
func (c completion) callID() string { return c.header.Get("X-Request-ID") }

// problem is the code of the answer's error, or of the error event that ends its stream.
func (c completion) problem() string {
	if len(c.events) > 0 {
		return reply{body: c.events[len(c.events)-1]}.code()
	}
	return c.code()
}

// chat sends a chat and reads what comes of it, also where it breaks off.
func (i *installation) chat(ctx context.Context, token string, sent object, headers ...header) completion {
	got := completion{correlation: uuid.NewString()}
	encoded, err := json.Marshal(sent)
	if err != nil {
		got.broken = err
		return got
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+i.addr+chatPath, bytes.NewReader(encoded))
	if err != nil {
		got.broken = err
		return got
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Correlation-ID", got.correlation)
	for _, h := range headers {
		for name, value := range h {
			request.Header.Set(name, value)
		}
	}
	response, err := client.Do(request)
	if err != nil {
		got.broken = err
		return got
	}
	defer func() { _ = response.Body.Close() }()
	got.status, got.header = response.StatusCode, response.Header
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		got.readEvents(response.Body)
	} else {
		got.readBody(response.Body)
	}
	return got
}

func (c *completion) readBody(from io.Reader) {
	text, err := io.ReadAll(from)
	c.body, c.broken, c.whole = string(text), err, err == nil
	var answer struct {
		Choices []struct {
			Message struct {
				Content string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if json.Unmarshal(text, &answer) == nil && len(answer.Choices) > 0 {
		c.text = answer.Choices[0].Message.Content
	}
}

func (c *completion) readEvents(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if data, found := strings.CutPrefix(line, "data: "); found && strings.HasSuffix(line, "\n") {
			c.add(strings.TrimSuffix(data, "\n"))
		}
		if err != nil {
			if err != io.EOF {
				c.broken = err
			}
			return
		}
	}
}

func (c *completion) add(data string) {
	if data == "[DONE]" {
		c.whole = true
		return
	}
	c.events = append(c.events, data)
	var chunk struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if json.Unmarshal([]byte(data), &chunk) == nil && len(chunk.Choices) > 0 {
		c.text += chunk.Choices[0].Delta.Content
	}
}

// mustChat is chat where the transport must not fail.
func (i *installation) mustChat(token string, sent object, headers ...header) completion {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	got := i.chat(ctx, token, sent, headers...)
	Expect(got.broken).NotTo(HaveOccurred())
	if got.status != http.StatusOK {
		conformOpenAI("chat", got.reply)
	}
	return got
}

// conformOpenAI holds an error against OpenAI's format, and against what the contract says of every answer.
func conformOpenAI(what string, r reply) {
	GinkgoHelper()
	at := fmt.Sprintf("%s → %d %s", what, r.status, tailOf(r.body))
	Expect(r.header.Get("Content-Type")).To(HavePrefix("application/json"), at)
	Expect(uuid.Validate(r.header.Get("X-Correlation-ID"))).To(Succeed(), at)
	conformProblem(at, r.body)
	switch r.status {
	case http.StatusUnauthorized:
		Expect(r.header.Get("WWW-Authenticate")).To(HavePrefix("Bearer"), at)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if !slices.Contains([]string{"budget_exceeded", "no_provider"}, r.code()) { // which waiting does not mend
			Expect(r.header.Get("Retry-After")).To(MatchRegexp(`^[1-9]\d*$`), at)
		}
	}
}

// conformProblem holds the body of an error against OpenAI's format.
func conformProblem(at, body string) {
	GinkgoHelper()
	var envelope map[string]map[string]any
	Expect(json.Unmarshal([]byte(body), &envelope)).To(Succeed(), at)
	Expect(envelope).To(And(HaveLen(1), HaveKey("error")), at)
	failure := envelope["error"]
	if failure["code"] == "budget_exceeded" { // says more than OpenAI has words for
		delete(failure, "budget")
	}
	Expect(keys(failure)).To(ConsistOf("code", "message", "param", "type"), at)
	Expect(failure["message"]).To(MatchRegexp(`.+`), at)
	Expect(failure["type"]).To(BeElementOf(
		"invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "insufficient_quota", "server_error"), at)
	for _, field := range []string{"code", "param"} {
		Expect(failure[field]).To(Or(BeNil(), BeAssignableToTypeOf("")), at)
	}
}

// recorded is a call in the log.
type recorded struct {
	calls.Recorded

	stream, correlation string
}

// callsAt are the recorded calls of a tenant, in the order of the log.
func callsAt(owner, tenant string) []recorded {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	conn, err := pgx.Connect(ctx, owner)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `select stream, data, convert_from(meta, 'UTF8')::jsonb ->> 'correlation_id' from events
		where tenant_id = $1 and type = $2 order by position`, tenant, calls.Recorded{}.EventType())
	Expect(err).NotTo(HaveOccurred())
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (r recorded, err error) {
		var data []byte
		if err = row.Scan(&r.stream, &data, &r.correlation); err == nil {
			err = json.Unmarshal(data, &r.Recorded)
		}
		return r, err //nolint:wrapcheck // shown as it is
	})
	Expect(err).NotTo(HaveOccurred())
	return all
}

// calls are the customer's recorded calls.
func (c *customer) calls() []recorded {
	GinkgoHelper()
	return callsAt(ownerURL(c.installation), c.name)
}

// outcomesOf are what became of a call's attempts.
func outcomesOf(call recorded) []string {
	list := make([]string, len(call.Attempts))
	for i, attempt := range call.Attempts {
		list[i] = attempt.Outcome
	}
	return list
}

// posts are the calls that a provider has been asked for; looks at its models are none.
func posts(server *gatewaytest.Server) []gatewaytest.Request {
	return slices.DeleteFunc(server.Requests(), func(r gatewaytest.Request) bool { return r.Method != http.MethodPost })
}
