package gatewaytest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
)

// Reply is what a provider that chats answers, in whatever format it has.
type Reply struct {
	// Text is the answer. In a stream it comes in Chunks pieces; default 3.
	Text   string
	Chunks int
	// ToolCalls are the functions that the model wants called.
	ToolCalls []ToolCall
	// FinishReason is OpenAI's word for it: stop, length, tool_calls or content_filter. Default tool_calls where there are
	// some, else stop.
	FinishReason string
	// Usage is what the provider counts; NoUsage says that it reports nothing. Default 12 in, 7 out.
	Usage   domain.Tokens
	NoUsage bool
	// Embedding is the vector of every text. Default three numbers.
	Embedding []float64
}

// ToolCall is one call of a function; Arguments are JSON as text.
type ToolCall struct{ ID, Name, Arguments string }

// wanted is what a request asks for.
type wanted struct {
	embeddings, stream, usage bool
	// model is what the request names; texts is how many texts it wants embeddings of.
	model string
	texts int
}

// protocol is how a provider type chats. Its texts are written down here again, from the providers' documentation,
// independently of package dialect, which is under test.
type protocol interface {
	// read tells what a POST asks for, or what the provider has against it: status and body of its error.
	read(s *Server, r *http.Request, body []byte) (want wanted, status int, objection string)
	// answer is a whole answer, events a streamed one, each event with what ends it.
	answer(reply Reply, want wanted) string
	events(reply Reply, want wanted) []string
	// embedded is the answer to a request for embeddings.
	embedded(reply Reply, want wanted) string
	// contentType is a stream's.
	contentType() string
	// failed is the body of the documented error of that status, and failedEvent the same within a stream.
	failed(status int) string
	failedEvent() string
}

// protocolOf is a type's protocol.
func protocolOf(t gateway.ProviderType) protocol {
	switch t {
	case gateway.OpenAI, gateway.Mistral, gateway.AzureOpenAI, gateway.VLLM, gateway.Custom:
	case gateway.Anthropic:
		return anthropicProtocol{}
	case gateway.Google:
		return googleProtocol{}
	case gateway.Cohere:
		return cohereProtocol{}
	case gateway.Ollama:
		return ollamaProtocol{}
	}

	return openAIProtocol{t}
}

// Chat answers chats and embeddings with reply, as the real provider does: at the right path, for the right key and a
// body that it takes; else with the documented error. Models are listed as before.
func Chat(reply Reply) Behaviour {
	return chatting(reply, func(w http.ResponseWriter, _ *http.Request, _ *Server, pieces []string) {
		for _, piece := range pieces {
			write(w, piece)
			flush(w)
		}
	})
}

// HangMidAnswer begins to answer as [Chat] does, and hangs after about half of it.
func HangMidAnswer(reply Reply) Behaviour {
	return chatting(reply, func(w http.ResponseWriter, r *http.Request, s *Server, pieces []string) {
		writeHalf(w, pieces)
		s.wait(r)
	})
}

// HangAfterHeader answers with a header and nothing more.
func HangAfterHeader() Behaviour {
	return chatting(Reply{}, func(w http.ResponseWriter, r *http.Request, s *Server, _ []string) {
		flush(w)
		s.wait(r)
	})
}

// CutMidAnswer begins to answer as [Chat] does, and breaks the connection after about half of it.
func CutMidAnswer(reply Reply) Behaviour {
	return chatting(reply, func(w http.ResponseWriter, _ *http.Request, _ *Server, pieces []string) {
		writeHalf(w, pieces)
		panic(http.ErrAbortHandler)
	})
}

// EndMidAnswer is [CutMidAnswer] with a well-formed end: the bytes are all there, the answer is not.
func EndMidAnswer(reply Reply) Behaviour {
	return chatting(reply, func(w http.ResponseWriter, _ *http.Request, _ *Server, pieces []string) { writeHalf(w, pieces) })
}

// ErrorMidAnswer begins a stream as [Chat] does, under status 200, and goes on with an error event after about half of it.
func ErrorMidAnswer(reply Reply) Behaviour {
	return chatting(reply, func(w http.ResponseWriter, _ *http.Request, s *Server, pieces []string) {
		writeHalf(w, pieces)
		write(w, protocolOf(s.kind).failedEvent())
	})
}

// ErrorInAnswer answers status 200 with nothing but an error: as an event where a stream was asked for, else as the body.
func ErrorInAnswer() Behaviour {
	return chatting(Reply{}, func(w http.ResponseWriter, _ *http.Request, s *Server, pieces []string) {
		if len(pieces) > 1 {
			write(w, protocolOf(s.kind).failedEvent())

			return
		}

		write(w, protocolOf(s.kind).failed(http.StatusInternalServerError))
	})
}

// Failing answers every request with the provider's documented error of that status.
func Failing(status int) Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, status, protocolOf(s.kind).failed(status))
	}}
}

// RateLimited answers every request with 429, and with Retry-After where it is not 0.
func RateLimited(retryAfter time.Duration) Behaviour {
	return Behaviour{func(s *Server, w http.ResponseWriter, _ *http.Request) {
		if retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		}

		answerJSON(w, http.StatusTooManyRequests, protocolOf(s.kind).failed(http.StatusTooManyRequests))
	}}
}

// chatting reads a request and lets send write the pieces of the answer to it: the events of a stream, or the one body.
func chatting(reply Reply, send func(w http.ResponseWriter, r *http.Request, s *Server, pieces []string)) Behaviour {
	reply = reply.complete()

	return Behaviour{func(s *Server, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			Models(s.options.Models...).answer(s, w, r)

			return
		}

		if status, objection := s.credentialObjection(r); status != 0 {
			answerJSON(w, status, objection)

			return
		}

		body, _ := io.ReadAll(r.Body) // a buffer; see Server.serve
		speaks := protocolOf(s.kind)

		want, status, objection := speaks.read(s, r, body)

		switch {
		case status != 0:
			answerJSON(w, status, objection)
		case want.embeddings:
			w.Header().Set("Content-Type", "application/json")
			send(w, r, s, []string{speaks.embedded(reply, want)})
		case want.stream:
			w.Header().Set("Content-Type", speaks.contentType())
			send(w, r, s, speaks.events(reply, want))
		default:
			w.Header().Set("Content-Type", "application/json")
			send(w, r, s, []string{speaks.answer(reply, want)})
		}
	}}
}

func writeHalf(w http.ResponseWriter, pieces []string) {
	if len(pieces) == 1 {
		write(w, pieces[0][:len(pieces[0])/2])
	} else {
		for _, piece := range pieces[:(len(pieces)+1)/2] {
			write(w, piece)
		}
	}

	flush(w)
}

// complete fills in the defaults.
func (r Reply) complete() Reply {
	r.Chunks = cmp.Or(r.Chunks, 3)

	if r.FinishReason == "" {
		r.FinishReason = "stop"
		if len(r.ToolCalls) > 0 {
			r.FinishReason = "tool_calls"
		}
	}

	if r.Usage == (domain.Tokens{}) {
		r.Usage = domain.Tokens{Input: 12, Output: 7}
	}

	if r.Embedding == nil {
		r.Embedding = []float64{0.25, -0.5, 1}
	}

	return r
}

// pieces is the text cut into Chunks parts, none of them empty, and none within a letter.
func (r Reply) pieces() []string { return cutText(r.Text, r.Chunks) }

func cutText(text string, parts int) []string {
	var pieces []string

	for ; parts > 0 && text != ""; parts-- {
		end := (len(text) + parts - 1) / parts
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}

		pieces, text = append(pieces, text[:end]), text[end:]
	}

	return pieces
}

// fields reads a request's body; nil where it is no object.
func fields(body []byte) map[string]json.RawMessage {
	var object map[string]json.RawMessage

	decoder := json.NewDecoder(bytes.NewReader(body))
	if decoder.Decode(&object) != nil || decoder.More() {
		return nil
	}

	return object
}

// countTexts is how many texts a JSON value holds: a string, or a list of them.
func countTexts(raw json.RawMessage) int {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return len(list)
	}

	return 1
}

func serverSentEvent(name string, data any) string {
	event := "data: " + encode(data) + "\n\n"
	if name != "" {
		event = "event: " + name + "\n" + event
	}

	return event
}
