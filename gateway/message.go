package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// maxMessageDepth is how deep providers nest their messages ({"error": {"message": …}},
// FastAPI's {"detail": [{"msg": …}]}), with one level to spare.
const maxMessageDepth = 4

// failureText says why a provider refused, as "<status>: <its own words>". It
// is not redacted yet.
func failureText(status int, header http.Header, body []byte) string {
	return strconv.Itoa(status) + ": " + failureReason(status, header, body)
}

// failureReason is the same without the status.
func failureReason(status int, header http.Header, body []byte) string {
	return cmp.Or(
		providerMessage(body, 0),
		plainText(header, body),
		http.StatusText(status),
		"the provider gave no reason",
	)
}

// providerMessage finds the message in any of the providers' error formats:
//
//	openai, azure_openai   {"error": {"message", "type", "code"}}
//	anthropic              {"type": "error", "error": {"type", "message"}}
//	google                 {"error": {"code", "message", "status"}}, also in an array
//	cohere                 {"message"}
//	mistral                {"message"} or {"detail"}, text or a list of {"msg"}
//	ollama, vllm           {"error": "…"}
//
// Those don't contradict each other, and a proxy in between may answer in its
// own format, so all are tried for every type.
func providerMessage(raw []byte, depth int) string {
	if depth > maxMessageDepth || len(raw) == 0 {
		return ""
	}

	var text string
	if json.Unmarshal(raw, &text) == nil {
		return strings.TrimSpace(text)
	}

	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
		return providerMessage(list[0], depth+1)
	}

	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil {
		return ""
	}

	for _, key := range []string{"error", "message", "detail", "msg", "errors", "error_description"} {
		if message := providerMessage(object[key], depth+1); message != "" {
			return message
		}
	}

	return ""
}

// plainText takes a body that says it is plain text at its word, but not a web page.
func plainText(header http.Header, body []byte) string {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || kind != "text/plain" || bytes.ContainsAny(body, "<{") {
		return ""
	}

	return strings.TrimSpace(string(body))
}
