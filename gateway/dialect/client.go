package dialect

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/archonhq/archon/gateway"
)

const (
	defaultFirstByte = 60 * time.Second
	defaultIdle      = 30 * time.Second
	defaultTotal     = 10 * time.Minute

	// maxAnswerBytes bounds an answer that is read as a whole, maxEventBytes one event of a stream, and maxErrorBytes what
	// is read of an error, which is a sentence or two.
	maxAnswerBytes = 32 << 20
	maxEventBytes  = 4 << 20
	maxErrorBytes  = 64 << 10
)

// finishContentFilter is OpenAI's finish reason for an answer that the provider withheld.
const finishContentFilter = "content_filter"

// NewClient makes a Client that calls through http, which comes from netguard.NewClient: any other would let a base URL
// reach this server's own network. Its own timeout for an answer's header has to be longer than timeouts.FirstByte, and it
// has none for a whole call. agent is sent as User-Agent where a target's custom headers name none.
func NewClient(http *http.Client, agent string, timeouts Timeouts) *Client {
	timeouts.FirstByte = cmp.Or(timeouts.FirstByte, defaultFirstByte)
	timeouts.Idle = cmp.Or(timeouts.Idle, defaultIdle)
	timeouts.Total = cmp.Or(timeouts.Total, defaultTotal)

	return &Client{http: http, agent: cmp.Or(agent, "archon"), timeouts: timeouts}
}

// Chat asks for a whole answer. Its error is a *[Failure]: also where the provider answered and withheld what it wrote.
func (c *Client) Chat(ctx context.Context, attempt Attempt, chat *Chat) (Completion, error) {
	codec, err := codecFor(attempt, chat)
	if err != nil {
		return Completion{}, err
	}

	completion, failure := c.whole(ctx, attempt, codec, chat,
		func(ctx context.Context) (*http.Request, error) { return codec.chat(ctx, attempt, chat, false) },
		func(body []byte) (Completion, error) { return codec.completion(attempt, chat, body) },
	)
	if failure != nil {
		return Completion{}, failure
	}

	completion.Usage.fill(chat.EstimatedPromptTokens(), answerTokens(completion.Body))

	if completion.FinishReason == finishContentFilter {
		failure := withheld()
		failure.Usage = completion.Usage

		return Completion{}, failure
	}

	return completion, nil
}

// Embed asks for embeddings. Its error is a *[Failure].
func (c *Client) Embed(ctx context.Context, attempt Attempt, request *Embeddings) (Completion, error) {
	codec, known := codecOf(attempt.Target.Type)
	if !known {
		return Completion{}, unknownType()
	}

	completion, failure := c.whole(ctx, attempt, codec, request,
		func(ctx context.Context) (*http.Request, error) { return codec.embeddings(ctx, attempt, request) },
		func(body []byte) (Completion, error) { return codec.embedded(attempt, request, body) },
	)
	if failure != nil {
		return Completion{}, failure
	}

	completion.Usage.fill(request.EstimatedPromptTokens(), 0)

	return completion, nil
}

// Stream asks for an answer piece by piece. It returns once there is something of it to pass on, so that until then
// another provider can be tried for free. Its error is a *[Failure]. Close the stream.
func (c *Client) Stream(ctx context.Context, attempt Attempt, chat *Chat) (*Stream, error) {
	codec, err := codecFor(attempt, chat)
	if err != nil {
		return nil, err
	}

	call, failure := c.send(ctx, attempt, codec, chat, func(ctx context.Context) (*http.Request, error) {
		return codec.chat(ctx, attempt, chat, true)
	})
	if failure != nil {
		return nil, failure
	}

	decoder := codec.decoder(attempt, chat)
	if decoder.framing() == serverSentEvents && isJSONDocument(call.response.Header) {
		defer call.close()

		return nil, call.notAStream(attempt, codec).hiding(chat)
	}

	stream := newStream(call, decoder, chat)
	if err := stream.begin(); err != nil {
		stream.Close()

		return nil, err
	}

	return stream, nil
}

// whole makes a call and reads its answer to the end.
func (c *Client) whole(
	ctx context.Context, attempt Attempt, codec codec, prompt prompt,
	request func(context.Context) (*http.Request, error), read func(body []byte) (Completion, error),
) (Completion, *Failure) {
	call, failure := c.send(ctx, attempt, codec, prompt, request)
	if failure != nil {
		return Completion{}, failure
	}

	defer call.close()

	body, failure := call.readAll(maxAnswerBytes)
	if failure != nil {
		failure.Usage.fill(prompt.EstimatedPromptTokens(), bytesToTokens(len(body)))

		return Completion{}, failure
	}

	completion, err := read(body)
	if err != nil {
		return Completion{}, asFailure(err).hiding(prompt)
	}

	completion.FirstByte = call.firstByte

	return completion, nil
}

// send makes the request and waits for the header of a successful answer. The caller closes the call.
func (c *Client) send(
	ctx context.Context, attempt Attempt, codec codec, prompt prompt, build func(context.Context) (*http.Request, error),
) (*call, *Failure) {
	call := c.newCall(ctx)

	request, err := build(call.ctx)
	if err != nil {
		call.close()

		return nil, asFailure(err)
	}

	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", c.agent)
	}

	response, err := c.http.Do(request) //nolint:bodyclose // call.close does
	if err != nil {
		defer call.close()

		failure := call.judge(err, "connect")
		if call.sent.Load() && failure.Trigger != ServerError { // we gave it up while it was working
			failure.Usage.fill(prompt.EstimatedPromptTokens(), 0)
		}

		return nil, failure
	}

	call.response = response
	if response.StatusCode >= http.StatusOK && response.StatusCode < http.StatusMultipleChoices {
		return call, nil
	}

	defer call.close()

	body, _ := io.ReadAll(io.LimitReader(call, maxErrorBytes)) // what came is enough; the status alone says most

	return nil, codec.failure(attempt, response.StatusCode, response.Header, body).hiding(prompt)
}

// newRequest makes a request of a codec. Its error is a *Failure: an operator has to mend the target.
func newRequest(ctx context.Context, attempt Attempt, endpoint gateway.Endpoint, body []byte) (*http.Request, error) {
	request, err := attempt.Target.NewRequest(ctx, endpoint, body, attempt.CorrelationID)
	if err != nil {
		return nil, &Failure{Trigger: Dead, Code: codeConfiguration, Message: "the provider can't be called: " + err.Error()}
	}

	return request, nil
}

// asFailure is for errors that are failures already; anything else would be a mistake of ours, and is still reported.
func asFailure(err error) *Failure {
	if failure, ok := errors.AsType[*Failure](err); ok {
		return failure
	}

	return badAnswer()
}
