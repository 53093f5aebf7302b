package gatewaytest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

// What the real providers refuse is refused: otherwise code that passes here would fail there.
func TestChatsAreJudgedAsTheRealProvidersDo(t *testing.T) {
	t.Parallel()

	const (
		gemini      = "/v1beta/models/gemini:generateContent"
		claudeCall  = `{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"f","input":{}}]}`
		claudeHead  = `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}`
		geminiCalls = `{"contents":[{"role":"user","parts":[{"text":"a"}]},{"role":"model","parts":[{"functionCall":{"name":"f"}},{"functionCall":{"name":"g"}}]}`
	)

	for name, example := range map[string]struct {
		kind       gateway.ProviderType
		path, body string
		status     int
		says       string
	}{
		"claude":               {gateway.Anthropic, "/v1/messages", claudeHead + `]}`, 200, `"type":"message"`},
		"claude streams":       {gateway.Anthropic, "/v1/messages", claudeHead + `],"stream":true}`, 200, "event: message_stop"},
		"claude, no limit":     {gateway.Anthropic, "/v1/messages", `{"model":"m","messages":[{"role":"user","content":[]}]}`, 400, "max_tokens"},
		"claude, odd field":    {gateway.Anthropic, "/v1/messages", claudeHead + `],"seed":1}`, 400, "seed"},
		"claude, system turn":  {gateway.Anthropic, "/v1/messages", `{"model":"m","max_tokens":5,"messages":[{"role":"system","content":[]}]}`, 400, "role"},
		"claude, empty text":   {gateway.Anthropic, "/v1/messages", claudeHead + `,{"role":"user","content":[{"type":"text","text":""}]}]}`, 400, "non-empty"},
		"claude, no result":    {gateway.Anthropic, "/v1/messages", claudeHead + `,` + claudeCall + `,{"role":"user","content":[{"type":"text","text":"b"}]}]}`, 400, "without `tool_result`"},
		"claude, result":       {gateway.Anthropic, "/v1/messages", claudeHead + `,` + claudeCall + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1"}]}]}`, 200, `"text":"yes"`},
		"claude, odd result":   {gateway.Anthropic, "/v1/messages", claudeHead + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"t9"}]}]}`, 400, "unexpected `tool_use_id`"},
		"claude, hot":          {gateway.Anthropic, "/v1/messages", claudeHead + `],"temperature":1.5}`, 400, "temperature"},
		"claude, embeddings":   {gateway.Anthropic, "/v1/embeddings", `{}`, 404, "Not found"},
		"gemini":               {gateway.Google, gemini, `{"contents":[{"role":"user","parts":[{"text":"a"}]}]}`, 200, `"finishReason":"STOP"`},
		"gemini, odd field":    {gateway.Google, gemini, `{"contents":[{"role":"user","parts":[{"text":"a"}]}],"model":"m"}`, 400, "model"},
		"gemini, role":         {gateway.Google, gemini, `{"contents":[{"role":"assistant","parts":[{"text":"a"}]}]}`, 400, "valid role"},
		"gemini, no parts":     {gateway.Google, gemini, `{"contents":[{"role":"user","parts":[]}]}`, 400, "must not be empty"},
		"gemini, results":      {gateway.Google, gemini, geminiCalls + `,{"role":"user","parts":[{"functionResponse":{}},{"functionResponse":{}}]}]}`, 200, "yes"},
		"gemini, results late": {gateway.Google, gemini, geminiCalls + `,{"role":"user","parts":[{"functionResponse":{}}]},{"role":"user","parts":[{"functionResponse":{}}]}]}`, 400, "function response parts"},
		"gemini, no sse":       {gateway.Google, "/v1beta/models/gemini:streamGenerateContent", `{}`, 400, "events only"},
		"gemini, elsewhere":    {gateway.Google, "/v1/models/gemini:generateContent", `{}`, 404, "NOT_FOUND"},
		"gemini embeds":        {gateway.Google, "/v1beta/models/e:batchEmbedContents", `{"requests":[{"model":"models/e","content":{"parts":[{"text":"a"}]}}]}`, 200, `"values":[0.25`},
		"gemini embeds none":   {gateway.Google, "/v1beta/models/e:batchEmbedContents", `{"requests":[{"content":{"parts":[{"text":"a"}]}}]}`, 400, "model and content"},
		"command":              {gateway.Cohere, "/v2/chat", `{"model":"m","messages":[{"role":"user","content":"a"}]}`, 200, `"COMPLETE"`},
		"command streams":      {gateway.Cohere, "/v2/chat", `{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true}`, 200, "event: message-end"},
		"command, old version": {gateway.Cohere, "/v1/chat", `{}`, 404, "404 page not found"},
		"command, odd field":   {gateway.Cohere, "/v2/chat", `{"model":"m","messages":[{"role":"user"}],"stop":["a"]}`, 400, "'stop'"},
		"command, hot":         {gateway.Cohere, "/v2/chat", `{"model":"m","messages":[{"role":"user"}],"temperature":1.5}`, 400, "temperature"},
		"command embeds":       {gateway.Cohere, "/v2/embed", `{"model":"m","texts":["a"],"input_type":"search_query","embedding_types":["float"]}`, 200, `"float":[[0.25`},
		"command, no type":     {gateway.Cohere, "/v2/embed", `{"model":"m","texts":["a"]}`, 400, "input_type"},
		"llama streams":        {gateway.Ollama, "/api/chat", `{"model":"m","messages":[{"role":"user","content":"a"}]}`, 200, `"done":false`},
		"llama":                {gateway.Ollama, "/api/chat", `{"model":"m","messages":[{"role":"user","content":"a"}],"stream":false}`, 200, `"content":"yes"`},
		"llama, parts":         {gateway.Ollama, "/api/chat", `{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}`, 400, "cannot unmarshal"},
		"llama, arguments":     {gateway.Ollama, "/api/chat", `{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"{}"}}]}]}`, 400, "cannot unmarshal"},
		"llama, image by URL":  {gateway.Ollama, "/api/chat", `{"model":"m","messages":[{"role":"user","images":["https://a.test/b"]}]}`, 400, "base64"},
		"llama embeds":         {gateway.Ollama, "/api/embed", `{"model":"m","input":["a","b"]}`, 200, `[0.25,-0.5,1],[0.25`},
	} {
		server := gatewaytest.New(example.kind, gatewaytest.Options{})
		server.Behave(gatewaytest.Chat(gatewaytest.Reply{Text: "yes", Chunks: 1}))

		status, answer := send(t, http.DefaultClient, http.MethodPost, server.URL+example.path, example.body, http.Header{"Anthropic-Version": {"2023-06-01"}})
		if status != example.status || !strings.Contains(answer, example.says) {
			t.Errorf("%s: got %d %s", name, status, answer)
		}

		server.Close()
	}
}
