// Package dialect translates between OpenAI's chat completions and embeddings, which Archon's clients speak, and what each
// of the nine provider types speaks. It makes one attempt against one provider and says how it went.
//
// Its one invariant: an attempt ends in an answer or in a *[Failure], within the bounds of [Timeouts] and of its limits on
// size, whatever the provider does; and nothing a provider says leaves this package as an error text without having
// passed [gateway.Redact]. Prompts and answers are never part of an error.
package dialect

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/gateway"
)

// Timeouts bound an attempt. A zero field means its default.
type Timeouts struct {
	// FirstByte bounds the wait for the first byte of the answer after the request was sent; 60 s. (Connecting is bounded
	// by the http.Client's dialer.)
	FirstByte time.Duration
	// Idle bounds the silence between two reads of an answer; 30 s.
	Idle time.Duration
	// Total bounds the whole attempt; 10 min.
	Total time.Duration
}

// Client makes attempts. It is safe for concurrent use.
type Client struct {
	http     *http.Client
	timeouts Timeouts
	agent    string
}

// Usage is what a call consumed.
type Usage struct {
	Tokens domain.Tokens
	// Source says who counted.
	Source Source
	// Raw is the provider's own usage object, nil where it sent none.
	Raw json.RawMessage
}

// Source says where the token counts of a call come from.
type Source string

// The sources of token counts.
const (
	// Reported by the provider.
	Reported Source = "provider"
	// Estimated by Archon, since the provider said nothing.
	Estimated Source = "estimated"
	// Unknown: nothing was consumed, or nobody knows what.
	Unknown Source = "none"
)

// Completion is a whole answer.
type Completion struct {
	// Body is the answer in OpenAI's format, ready to be sent.
	Body  []byte
	Usage Usage
	// FinishReason is OpenAI's word for why the model stopped; empty for embeddings.
	FinishReason string
	// Content is the text of the first choice, empty for embeddings.
	Content string
	// FirstByte is the time from sending the request to the first byte of the answer.
	FirstByte time.Duration
}

// Trigger is what kind of failure an attempt met; it decides whether another provider is tried.
type Trigger string

// The triggers; the first four are the contract's failover triggers.
const (
	Timeout       Trigger = "timeout"
	RateLimit     Trigger = "rate_limit"
	ServerError   Trigger = "server_error"
	ContentPolicy Trigger = "content_policy"
	// Dead: the credential, the account or the model is unusable until an operator or a reset mends it. Another provider
	// may be tried; this one is skipped.
	Dead Trigger = "dead"
	// BadRequest: the caller's request is at fault; no other provider is tried.
	BadRequest Trigger = "bad_request"
	// Cancelled: the caller's context ended; it says nothing of the provider.
	Cancelled Trigger = "cancelled"
)

// Failure is an attempt that did not succeed. It is the only error type that Client's methods and Stream.Next return,
// apart from io.EOF at the end of a stream.
type Failure struct { //nolint:errname // not only errors: it says what may be tried next
	Trigger Trigger
	// Status is the provider's HTTP status, 0 where there was none.
	Status int
	// Code is a short machine word: the provider's own error code or type where it is one of a known set, else ours, such
	// as "connect", "first_byte_timeout", "idle_timeout", "bad_answer", "stream_cut".
	Code string
	// Message may be shown: it has passed gateway.Redact and holds no part of prompt or answer.
	Message string
	// RetryAfter is how long the provider asked to be left alone; 0 where it did not say.
	RetryAfter time.Duration
	// Param names the request's field at fault, in OpenAI's sense; mostly empty.
	Param string
	// Usage is what the attempt has consumed all the same, as far as that is known: the provider worked and withheld its
	// answer, or was working when it was given up. Zero where it refused, or was never reached.
	Usage Usage
}

// Error implements error.
func (f *Failure) Error() string { return string(f.Trigger) + ": " + f.Message }

// Attempt is what Client's methods need to know of one attempt.
type Attempt struct {
	Target gateway.Target
	// Model goes upstream in place of the model of the request.
	Model string
	// CorrelationID travels upstream as X-Correlation-ID.
	CorrelationID string
	// MaxOutputTokens, where not 0, is the clamp that goes upstream in place of what the client asked.
	MaxOutputTokens int64
}

// codec is one provider type's side of the translation.
type codec interface {
	// chat makes the request for a chat completion; stream asks for a streamed one. Its error is a *Failure (BadRequest)
	// where the type can't express what the request asks.
	chat(ctx context.Context, attempt Attempt, chat *Chat, stream bool) (*http.Request, error)
	// completion reads a whole successful answer. Its error is a *Failure. A zero Usage says that the provider counted
	// nothing: Client then estimates. A finish reason of content_filter is turned into a failure by Client.
	completion(attempt Attempt, chat *Chat, body []byte) (Completion, error)
	// decoder reads a streamed answer.
	decoder(attempt Attempt, chat *Chat) streamDecoder
	// embeddings makes the request for embeddings, or fails with a *Failure (BadRequest) where the type has none.
	embeddings(ctx context.Context, attempt Attempt, request *Embeddings) (*http.Request, error)
	// embedded reads a successful answer to it.
	embedded(attempt Attempt, request *Embeddings, body []byte) (Completion, error)
	// failure judges an answer that is not a success, by the table of docs/data-plane.md.
	failure(attempt Attempt, status int, header http.Header, body []byte) *Failure
}

// streamDecoder turns the provider's events into OpenAI's chunks.
type streamDecoder interface {
	// framing is how events are cut from the bytes of the answer.
	framing() framing
	// event takes one event and returns the chunks that it amounts to, none or several, valid until the next call; done is
	// set by the event that ends the answer. A provider's error event is returned as a *Failure. A chunk of usage is not
	// its business: [Stream] appends it where the client wants it, made from usage.
	event(name string, data []byte) (chunks [][]byte, done bool, err error)
	// end is called when the bytes end; it returns a *Failure where the answer is not complete.
	end() error
	// usage is what was counted so far; the zero Usage where the provider has said nothing, which Stream then estimates.
	usage() Usage
}

// framing is how a stream's bytes are cut into events.
type framing int

const (
	serverSentEvents framing = iota
	jsonLines
)
