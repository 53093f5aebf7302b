package dialect

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/archonhq/archon/internal/netguard"
)

// drainGrace is how long closing a call waits for the answer's last bytes, so that its connection can be used again.
const drainGrace = 100 * time.Millisecond

// Why a call's context was ended by us.
var (
	errIdle   = errors.New("silence for too long")
	errTotal  = errors.New("the attempt took too long")
	errClosed = errors.New("closed")
)

// call is one request under way and its answer. Reading from it keeps to the timeouts: one timer ends the context, so
// that no goroutine has to watch.
type call struct {
	ctx      context.Context //nolint:containedctx // it is the call's life, not a caller's
	caller   context.Context //nolint:containedctx // tells who ended the call
	cancel   context.CancelCauseFunc
	stop     context.CancelFunc // of the total timeout
	timer    *time.Timer
	timeouts Timeouts
	response *http.Response
	sent     atomic.Bool // the request has gone out whole

	started   time.Time
	firstByte time.Duration // 0 until it came
	complete  bool          // nothing of interest follows
	closed    bool
}

func (c *Client) newCall(caller context.Context) *call {
	call := &call{caller: caller, timeouts: c.timeouts, started: time.Now()}

	total, stop := context.WithTimeoutCause(caller, c.timeouts.Total, errTotal)
	call.stop = stop
	call.ctx, call.cancel = context.WithCancelCause(total)
	call.ctx = httptrace.WithClientTrace(call.ctx, &httptrace.ClientTrace{
		WroteRequest: func(wrote httptrace.WroteRequestInfo) { call.sent.Store(wrote.Err == nil) },
	})
	call.timer = time.AfterFunc(c.timeouts.FirstByte, call.tooLate)

	return call
}

// tooLate runs when the timer fires: before the first byte, or in a silence. Which of them it was, judge knows.
func (c *call) tooLate() { c.cancel(errIdle) }

// Read implements io.Reader over the answer's body.
func (c *call) Read(buffer []byte) (int, error) {
	if c.firstByte > 0 {
		c.timer.Reset(c.timeouts.Idle)
	}

	n, err := c.response.Body.Read(buffer)

	if n > 0 || err != nil {
		c.timer.Stop() // whoever passes the answer on may take his time
	}

	if n > 0 && c.firstByte == 0 {
		c.firstByte = max(1, time.Since(c.started))
	}

	return n, err
}

// readAll reads an answer of at most limit bytes. With a failure it returns what came.
func (c *call) readAll(limit int64) ([]byte, *Failure) {
	body, err := io.ReadAll(io.LimitReader(c, limit+1))

	switch {
	case err != nil:
		return body, c.judge(err, "answer_cut")
	case int64(len(body)) > limit:
		return body, tooLarge()
	}

	return body, nil
}

// judge says why the call ended; code is for a fault of the connection.
func (c *call) judge(err error, code string) *Failure {
	switch cause := context.Cause(c.ctx); {
	case c.caller.Err() != nil:
		return &Failure{Trigger: Cancelled, Code: "cancelled", Message: "the caller went away"}
	case errors.Is(cause, errTotal):
		return &Failure{
			Trigger: Timeout, Code: "total_timeout", Message: "the provider did not finish within " + c.timeouts.Total.String(),
		}
	case errors.Is(cause, errIdle) && c.firstByte == 0:
		return &Failure{
			Trigger: Timeout, Code: "first_byte_timeout", Message: "the provider did not answer within " + c.timeouts.FirstByte.String(),
		}
	case errors.Is(cause, errIdle):
		return &Failure{
			Trigger: Timeout, Code: "idle_timeout", Message: "the provider fell silent for " + c.timeouts.Idle.String(),
		}
	}

	failure := &Failure{Trigger: ServerError, Code: code, Message: netguard.Explain(err)}
	if errors.Is(err, netguard.ErrRefused) {
		failure.Trigger, failure.Code = Dead, codeConfiguration
	}

	// The transport has timeouts of its own: for connecting, and perhaps for the answer's header.
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		failure.Trigger, failure.Code = Timeout, "first_byte_timeout"

		if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
			failure.Code = "connect_timeout"
		}
	}

	return failure
}

// close ends the call and frees its connection. Closing twice is fine.
func (c *call) close() {
	if c.closed {
		return
	}

	c.closed = true

	if c.response != nil {
		c.drain()
		_ = c.response.Body.Close() // read as far as wanted
	}

	c.timer.Stop()
	c.cancel(errClosed)
	c.stop()
}

// drain reads what is left of a complete answer, usually nothing but its end: a connection is reused only after that.
func (c *call) drain() {
	if !c.complete || c.ctx.Err() != nil {
		return
	}

	var rest [512]byte

	c.timer.Reset(drainGrace)
	_, _ = c.response.Body.Read(rest[:])
}

// isJSONDocument tells an answer that is one document from a stream.
func isJSONDocument(header http.Header) bool {
	kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))

	return err == nil && kind == "application/json"
}

// notAStream judges a document that came instead of a stream: mostly an error under status 200.
func (c *call) notAStream(attempt Attempt, codec codec) *Failure {
	body, failure := c.readAll(maxErrorBytes)
	if failure != nil {
		return failure
	}

	return codec.failure(attempt, c.response.StatusCode, c.response.Header, body)
}
