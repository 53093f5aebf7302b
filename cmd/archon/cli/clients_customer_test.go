package cli_test

import (
	"bufio"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// embedder is the model that customers ask for embeddings.
const embedder = "text-embedding-3-small"

// sdkUser is a tenant with one provider and one API key, as somebody has them who is about to call models.
type sdkUser struct {
	*surface

	name, admin string
	// key is the API key, keyID its id, and model one of the provider's.
	key, keyID, model string
	upstream          *gatewaytest.Server
}

// sdkUserOf makes a sdkUser of a provider of that type.
func sdkUserOf(s *surface, kind gateway.ProviderType) *sdkUser {
	GinkgoHelper()
	c := &sdkUser{surface: s, name: "t-" + uuid.NewString()[:8]}
	c.admin = s.token(c.name, "ada", "admin")
	for _, t := range allTypes() {
		if t.kind != kind || c.upstream != nil {
			continue
		}
		c.upstream = upstreamOf(kind, t.options)
		registration := map[string]any{
			"name": string(kind), "type": string(kind), "base_url": c.upstream.URL, "supported_models": []string{"a-model", "b-model", embedder},
			"capabilities": []string{"vision", "function_calling", "json_mode", "streaming", "embeddings"},
		}
		maps.Copy(registration, t.body)
		if kind == gateway.AzureOpenAI { // the default version can't be asked for a stream's usage
			registration["credentials"] = map[string]string{"api_key": canary, "deployment_name": "gpt", "api_version": "2024-10-21"}
		}
		s.register(c.admin, registration)
	}
	c.model = "a-model"
	c.key, c.keyID = c.newKey(nil)
	c.upstream.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: hello}))
	c.upstream.Reset()
	return c
}

// hello is what models say; it must be found nowhere afterwards.
const hello = "Grüezi, bonjour und buongiorno 👋 from the canary's answer"

// question is what they are asked; it must be found nowhere either.
const question = "Say hello in three languages, said the canary's prompt"

// newKey makes an API key with what the fields say.
func (c *sdkUser) newKey(fields map[string]any) (key, id string) {
	GinkgoHelper()
	body := map[string]any{"name": "CI"}
	maps.Copy(body, fields)
	made := c.ask(http.MethodPost, keysPath, c.admin, body)
	Expect(made.status).To(Equal(http.StatusCreated), made.body)
	key, _ = made.data()["key"].(string)
	id, _ = made.data()["id"].(string)
	Expect(key).To(HavePrefix("ak_"))
	return key, id
}

// chat is the body of a chat completion; each of more is put over it.
func (c *sdkUser) chat(more ...map[string]any) map[string]any {
	body := map[string]any{"model": c.model, "messages": []any{message("user", question)}}
	for _, fields := range more {
		maps.Copy(body, fields)
	}
	return body
}

func message(role, content string) map[string]any {
	return map[string]any{"role": role, "content": content}
}

// sent is the body of the last request that reached the provider.
func (c *sdkUser) sent() string {
	GinkgoHelper()
	requests := c.upstream.Requests()
	Expect(requests).NotTo(BeEmpty())
	return string(requests[len(requests)-1].Body)
}

// recorded is what the log has of the sdkUser's calls, the oldest first.
func (c *sdkUser) recorded() []map[string]any {
	GinkgoHelper()
	ctx, conn := c.asSuperuser()
	rows, err := conn.Query(ctx, `select convert_from(data, 'UTF8') from events where tenant_id = $1 and type = 'usage.recorded.v1' order by position`, c.name)
	Expect(err).NotTo(HaveOccurred())
	defer rows.Close()
	var calls []map[string]any
	for rows.Next() {
		var data string
		Expect(rows.Scan(&data)).To(Succeed())
		var call map[string]any
		Expect(json.Unmarshal([]byte(data), &call)).To(Succeed())
		calls = append(calls, call)
	}
	Expect(rows.Err()).NotTo(HaveOccurred())
	return calls
}

// sdk is OpenAI's client for JavaScript in a process of its own; testdata/openai_client.mjs says how it is driven.
type sdk struct {
	baseURL string
	in      io.WriteCloser
	out     *bufio.Reader
}

// sdkCall is what the client is to do.
type sdkCall struct {
	Client map[string]any `json:"client"`
	Call   string         `json:"call"`
	Args   []any          `json:"args,omitempty"`
	Take   int            `json:"take,omitempty"`
}

// sdkAnswer is what came of it.
type sdkAnswer struct {
	Value    map[string]any
	Items    []map[string]any
	Final    map[string]any
	Headers  map[string]string
	Requests []struct {
		Status       int
		RetryAfterMs *string
	}
	Error *sdkError
}

// sdkError is what the client has thrown.
type sdkError struct {
	Class, Message, Code, Type, Param, RequestID string
	IsAPIError                                   bool
	Status                                       int
}

// newSDK starts the client; it goes with the spec or container.
func newSDK(place *installation) *sdk {
	GinkgoHelper()
	node, dir := javascript()
	program, err := os.ReadFile("testdata/openai_client.mjs")
	Expect(err).NotTo(HaveOccurred())
	cmd := exec.Command(node, "--input-type=module", "--eval", string(program)) // its imports are looked for in dir
	cmd.Dir, cmd.Stderr = dir, GinkgoWriter
	s := &sdk{baseURL: "http://" + place.addr + "/v1"}
	s.in, err = cmd.StdinPipe()
	Expect(err).NotTo(HaveOccurred())
	out, err := cmd.StdoutPipe()
	Expect(err).NotTo(HaveOccurred())
	const longestAnswer = 1 << 20
	s.out = bufio.NewReaderSize(out, longestAnswer)
	Expect(cmd.Start()).To(Succeed())
	DeferCleanup(func() {
		_ = s.in.Close()
		Expect(cmd.Wait()).To(Succeed())
	})
	return s
}

// do has the client do something. It retries nothing unless the call says so.
func (s *sdk) do(key string, call sdkCall) sdkAnswer {
	GinkgoHelper()
	options := map[string]any{"baseURL": s.baseURL, "apiKey": key, "maxRetries": 0}
	maps.Copy(options, call.Client)
	call.Client = options
	encoded, err := json.Marshal(call)
	Expect(err).NotTo(HaveOccurred())
	_, err = s.in.Write(append(encoded, '\n'))
	Expect(err).NotTo(HaveOccurred())
	line, err := s.out.ReadBytes('\n')
	Expect(err).NotTo(HaveOccurred(), "the client's process has ended")
	var answer sdkAnswer
	Expect(json.Unmarshal(line, &answer)).To(Succeed(), string(line))
	return answer
}

// create asks for a chat completion, plain or streamed.
func (s *sdk) create(key string, body map[string]any) sdkAnswer {
	GinkgoHelper()
	return s.do(key, sdkCall{Call: "chat.completions.create", Args: []any{body}})
}

// good fails where the client has thrown something.
func (a sdkAnswer) good() sdkAnswer {
	GinkgoHelper()
	Expect(a.Error).To(BeNil())
	return a
}

// choice is the first choice of a chat completion.
func choice(completion map[string]any) map[string]any {
	GinkgoHelper()
	choices, _ := completion["choices"].([]any)
	Expect(choices).To(HaveLen(1), "%v", completion)
	return choices[0].(map[string]any)
}

// said is what the deltas of a stream amount to.
func (a sdkAnswer) said() (text, finish string, usage map[string]any) {
	GinkgoHelper()
	var whole strings.Builder
	for _, chunk := range a.Items {
		Expect(chunk).To(And(HaveKeyWithValue("object", "chat.completion.chunk"), HaveKey("id"), HaveKey("created"), HaveKey("model")))
		if choices := chunk["choices"].([]any); len(choices) == 0 {
			usage, _ = chunk["usage"].(map[string]any)
			continue
		}
		Expect(usage).To(BeNil(), "usage is the last chunk")
		delta := choice(chunk)["delta"].(map[string]any)
		piece, _ := delta["content"].(string)
		whole.WriteString(piece)
		if reason, ended := choice(chunk)["finish_reason"].(string); ended {
			Expect(finish).To(BeEmpty(), "one finish_reason")
			finish = reason
		}
	}
	return whole.String(), finish, usage
}
