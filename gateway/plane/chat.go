package plane

import (
	"context"
	"net/http"
	"time"

	"github.com/archonhq/archon/domain/routing"
	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
)

// drainTimeout is for how long an answer is taken in whose client has gone, so that what the provider bills is known.
const drainTimeout = 30 * time.Second

// ChatCall is a chat completion that somebody wants.
type ChatCall struct {
	Caller Caller
	Chat   *dialect.Chat
	// MaxCostPer1k is the most that 1,000 input tokens may cost, in nano-USD, and MaxLatencyMS the longest wait for the
	// first token; nil is no bound. Only Archon's own routes have these.
	MaxCostPer1k, MaxLatencyMS *int64
	// Needs are capabilities that are needed whatever the request shows.
	Needs dialect.Needs
	// Before, where set, is told of the answer before it is recorded; Failed of what is recorded of a call without one.
	Before func(*Result)
	Failed func(usage.Recorded)
}

// Result is a whole answer and what is known about it.
type Result struct {
	CallID string
	dialect.Completion

	// Recorded is what is in the log, Position where; Provider is who answered.
	Recorded usage.Recorded
	Position int64
	Provider *Provider
	// Limits are the key's rate limits, for the answer's headers.
	Limits limits.Verdict
}

// capabilities are the names of needs, as providers state them.
func capabilities(needs dialect.Needs) []string {
	var names []string
	for _, need := range []struct {
		is   bool
		name string
	}{
		{needs.Vision, "vision"},
		{needs.FunctionCalling, "function_calling"},
		{needs.JSONMode, "json_mode"},
		{needs.Streaming, "streaming"},
		{needs.Embeddings, "embeddings"},
	} {
		if need.is {
			names = append(names, need.name)
		}
	}
	return names
}

func (c *ChatCall) wants(streamed bool) wants {
	needs := c.Chat.Needs
	needs.Vision = needs.Vision || c.Needs.Vision
	needs.FunctionCalling = needs.FunctionCalling || c.Needs.FunctionCalling
	needs.JSONMode = needs.JSONMode || c.Needs.JSONMode
	needs.Streaming = streamed || c.Needs.Streaming
	return wants{
		kind: usage.Chat, streamed: streamed, maxOutput: c.Chat.MaxTokens, choices: c.Chat.N,
		request: routing.Request{
			Model: c.Chat.Model, Needs: capabilities(needs), PromptTokens: c.Chat.EstimatedPromptTokens(),
			MaxCostPer1k: c.MaxCostPer1k, MaxLatencyMS: c.MaxLatencyMS,
		},
	}
}

// Chat answers a chat completion whole. The result is nil where there is a problem.
func (p *Plane) Chat(ctx context.Context, call ChatCall) (*Result, *Problem) {
	return p.whole(ctx, call.Caller, call.wants(false), observers{call.Before, call.Failed}, func(ctx context.Context, attempt dialect.Attempt) (dialect.Completion, error) {
		return p.Dialect.Chat(ctx, attempt, call.Chat)
	})
}

// EmbeddingsCall is embeddings that somebody wants.
type EmbeddingsCall struct {
	Caller     Caller
	Embeddings *dialect.Embeddings
}

// Embed answers an embeddings request. The result is nil where there is a problem.
func (p *Plane) Embed(ctx context.Context, call EmbeddingsCall) (*Result, *Problem) {
	wanted := wants{kind: usage.Embeddings, choices: 1, request: routing.Request{
		Model: call.Embeddings.Model, Needs: capabilities(dialect.Needs{Embeddings: true}), PromptTokens: call.Embeddings.EstimatedPromptTokens(),
	}}
	return p.whole(ctx, call.Caller, wanted, observers{}, func(ctx context.Context, attempt dialect.Attempt) (dialect.Completion, error) {
		return p.Dialect.Embed(ctx, attempt, call.Embeddings)
	})
}

// observers are told how a call goes; either may be nil.
type observers struct {
	before func(*Result)
	failed func(usage.Recorded)
}

// whole answers a call whose answer is one piece.
func (p *Plane) whole(
	ctx context.Context, caller Caller, wanted wants, told observers, try func(ctx context.Context, attempt dialect.Attempt) (dialect.Completion, error),
) (*Result, *Problem) {
	p.underway.begin()
	defer p.underway.end()
	r, problem := p.begin(ctx, caller, wanted)
	if problem != nil {
		return nil, problem
	}
	work, cancel := p.draining(ctx)
	defer cancel()
	var completion dialect.Completion
	s, problem := r.through(ctx, work, func(ctx context.Context, attempt dialect.Attempt) (err error) {
		completion, err = try(ctx, attempt)
		return err
	})
	if problem != nil {
		if told.failed != nil {
			told.failed(r.recorded)
		}
		return nil, r.abandon(ctx, problem)
	}
	r.served(ctx, s, completion.FirstByte, nil)
	outcome := usage.Succeeded
	if ctx.Err() != nil {
		outcome = usage.Cancelled
	}
	ended := end{outcome: outcome, status: http.StatusOK, usage: completion.Usage}
	cost := r.complete(ctx, ended)
	result := &Result{CallID: r.recorded.CallID, Completion: completion, Recorded: r.recorded, Provider: s.provider, Limits: r.verdict}
	if told.before != nil {
		told.before(result)
	}
	if result.Position, problem = r.keep(ctx, cost); problem != nil {
		return nil, problem
	}
	return result, nil
}

// draining is what attempts run under: it ends a while after the client has gone, and when the plane has to stop.
func (p *Plane) draining(client context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithCancel(context.WithoutCancel(client))
	stop := context.AfterFunc(client, func() {
		timer := time.AfterFunc(drainTimeout, cancel)
		context.AfterFunc(work, func() { timer.Stop() })
	})
	forget := context.AfterFunc(p.stopping, cancel)
	return work, func() {
		stop()
		forget()
		cancel()
	}
}
