package usage

import (
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain"
)

// UnmarshalJSON implements json.Unmarshaler. Calls are most of a busy log, so what json.Marshal writes is read by a parser
// that knows its form; anything else takes the ordinary way.
func (r *Recorded) UnmarshalJSON(data []byte) error {
	in := domain.Scan(data)
	read := *r
	read.Reset()
	read.scan(&in)
	if in.Done() {
		*r = read
		return nil
	}
	type ordinary Recorded
	if err := json.Unmarshal(data, (*ordinary)(r)); err != nil {
		return fmt.Errorf("decode a call: %w", err)
	}
	return nil
}

// Reset makes it the zero call, and keeps the memory that it has for the next one, as a decoder that reuses it wants.
func (r *Recorded) Reset() {
	*r = Recorded{Attempts: r.Attempts[:0], Decision: r.Decision[:0], RawUsage: r.RawUsage[:0], Price: r.Price[:0]}
}

func (r *Recorded) scan(in *domain.Scanner) {
	in.Literal(`{"call_id":`)
	r.CallID = string(in.Text())
	in.Literal(`,"kind":`)
	r.Kind = Kind(in.Text())
	r.Streamed = in.Has(`,"streamed":`) && in.Boolean()
	in.Literal(`,"started_at":`)
	r.StartedAt = in.Time()
	r.KeyID = string(in.OptionalText(`,"key_id":`))
	r.UserID = string(in.OptionalText(`,"user_id":`))
	r.DepartmentID = string(in.OptionalText(`,"department_id":`))
	r.AgentID = string(in.OptionalText(`,"agent_id":`))
	r.ExecutionID = string(in.OptionalText(`,"execution_id":`))
	r.RequestedModel = string(in.OptionalText(`,"requested_model":`))
	r.ProviderID = string(in.OptionalText(`,"provider_id":`))
	r.ProviderType = string(in.OptionalText(`,"provider_type":`))
	r.Model = string(in.OptionalText(`,"model":`))
	in.Literal(`,"outcome":`)
	r.Outcome = Outcome(in.Text())
	in.Literal(`,"status":`)
	r.Status = int(in.Integer())
	r.Code = string(in.OptionalText(`,"code":`))
	in.Literal(`,"attempts":`)
	r.Attempts = scanAttempts(in, r.Attempts)
	r.Decision = scanRaw(in, `,"decision":`, r.Decision)
	in.Literal(`,"tokens":`)
	r.Tokens = scanTokens(in)
	in.Literal(`,"usage_source":`)
	r.Source = string(in.Text())
	r.RawUsage = scanRaw(in, `,"usage_raw":`, r.RawUsage)
	r.Price = scanRaw(in, `,"price":`, r.Price)
	r.CostUSD = string(in.OptionalText(`,"cost_usd":`))
	r.Unpriced = in.Has(`,"unpriced":`) && in.Boolean()
	in.Literal(`,"latency_us":`)
	r.LatencyUS = in.Integer()
	r.FirstTokenUS = in.OptionalInteger(`,"first_token_us":`)
	r.Suppressed = in.OptionalInteger(`,"suppressed":`)
	in.Literal(`}`)
}

func scanAttempts(in *domain.Scanner, attempts []Attempt) []Attempt {
	if in.Has("null") {
		return attempts
	}
	in.Literal("[")
	if attempts == nil {
		attempts = []Attempt{}
	}
	if in.Has("]") {
		return attempts
	}
	for !in.Failed() {
		attempts = append(attempts, scanAttempt(in))
		if in.Has("]") {
			return attempts
		}
		in.Literal(",")
	}
	return nil
}

func scanAttempt(in *domain.Scanner) (a Attempt) {
	in.Literal(`{"provider_id":`)
	a.ProviderID = string(in.Text())
	in.Literal(`,"model":`)
	a.Model = string(in.Text())
	in.Literal(`,"outcome":`)
	a.Outcome = string(in.Text())
	a.Status = int(in.OptionalInteger(`,"status":`))
	in.Literal(`,"latency_us":`)
	a.LatencyUS = in.Integer()
	a.FirstByteUS = in.OptionalInteger(`,"first_byte_us":`)
	a.Error = string(in.OptionalText(`,"error":`))
	if in.Has(`,"tokens":`) {
		a.Tokens = scanTokens(in)
	}
	a.Source = string(in.OptionalText(`,"usage_source":`))
	a.CostUSD = string(in.OptionalText(`,"cost_usd":`))
	in.Literal(`}`)
	return a
}

func scanTokens(in *domain.Scanner) (t domain.Tokens) {
	in.Literal(`{"input":`)
	t.Input = in.Integer()
	in.Literal(`,"cache_read":`)
	t.CacheRead = in.Integer()
	in.Literal(`,"cache_write":`)
	t.CacheWrite = in.Integer()
	in.Literal(`,"output":`)
	t.Output = in.Integer()
	in.Literal(`,"reasoning":`)
	t.Reasoning = in.Integer()
	in.Literal(`}`)
	return t
}

// scanRaw copies a value that comes with its name, if it does.
func scanRaw(in *domain.Scanner, name string, to json.RawMessage) json.RawMessage {
	if !in.Has(name) {
		return to
	}
	return append(to, in.Value()...)
}
