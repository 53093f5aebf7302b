package plane

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
)

// ChatStream is a streamed answer. Its owner calls Next until it fails, and in any case Close.
type ChatStream struct {
	run      *run
	serving  *serving
	upstream *dialect.Stream
	cancel   func()
	ended    bool
}

// StreamChat begins a streamed chat completion. Until it returns, failing over is free; from then on the call stays with
// its provider.
func (p *Plane) StreamChat(ctx context.Context, call ChatCall) (*ChatStream, *Problem) {
	p.underway.begin()
	r, problem := p.begin(ctx, call.Caller, call.wants(true))
	if problem != nil {
		p.underway.end()
		return nil, problem
	}
	work, cancel := p.draining(ctx)
	stream := &ChatStream{run: r, cancel: sync.OnceFunc(func() {
		cancel()
		p.underway.end()
	})}
	stream.serving, problem = r.through(ctx, work, func(ctx context.Context, attempt dialect.Attempt) (err error) {
		stream.upstream, err = p.Dialect.Stream(ctx, attempt, call.Chat)
		return err
	})
	if problem != nil {
		defer stream.cancel()
		return nil, r.abandon(ctx, problem)
	}
	return stream, nil
}

// CallID is the call's id, and the end of its stream's name in the log.
func (s *ChatStream) CallID() string { return s.run.recorded.CallID }

// Limits are the key's rate limits, for the answer's headers.
func (s *ChatStream) Limits() limits.Verdict { return s.run.verdict }

// Next is the next chunk as JSON, valid until the call after it. It returns io.EOF once the answer is complete and
// recorded, and a *Problem where it broke off or could not be recorded.
func (s *ChatStream) Next(ctx context.Context) ([]byte, error) {
	chunk, err := s.upstream.Next()
	switch {
	case err == nil:
		return chunk, nil
	case errors.Is(err, io.EOF):
		outcome := usage.Succeeded
		if ctx.Err() != nil { // writes to a client that has gone may still have looked as if all were well
			outcome = usage.Cancelled
		}
		if problem := s.finish(ctx, outcome, nil); problem != nil {
			return nil, problem
		}
		return nil, io.EOF
	}
	failure := asFailure(err)
	if problem := s.finish(ctx, usage.Incomplete, failure); problem != nil {
		return nil, problem
	}
	return nil, problemOf(failure)
}

// Drain takes in what is left of an answer whose client has gone, within bounds, and records the call.
func (s *ChatStream) Drain(ctx context.Context) {
	for {
		_, err := s.upstream.Next()
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF):
			_ = s.finish(ctx, usage.Cancelled, nil)
		default:
			_ = s.finish(ctx, usage.Cancelled, asFailure(err))
		}
		return
	}
}

// Close frees what the stream holds. A stream that has not ended is drained first.
func (s *ChatStream) Close(ctx context.Context) {
	if !s.ended {
		s.Drain(ctx)
	}
	s.upstream.Close()
	s.cancel()
}

// finish records the call, once.
func (s *ChatStream) finish(ctx context.Context, outcome usage.Outcome, failure *dialect.Failure) *Problem {
	if s.ended {
		return nil
	}
	s.ended = true
	s.run.served(ctx, s.serving, s.upstream.FirstByte(), failure)
	ended := end{outcome: outcome, status: http.StatusOK, usage: s.upstream.Usage()}
	if failure != nil {
		ended.code = failure.Code
	}
	_, problem := s.run.finish(ctx, ended)
	return problem
}
