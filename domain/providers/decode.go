package providers

import (
	"encoding/json"
	"fmt"

	"github.com/archonhq/archon/domain"
)

// UnmarshalJSON implements json.Unmarshaler. Samples are most of a busy log, so what MarshalJSON writes is read by a
// parser that knows its form; anything else takes the ordinary way.
func (s *Sampled) UnmarshalJSON(data []byte) error {
	in := domain.Scan(data)
	in.Literal(`{"provider_id":`)
	id := in.Text()
	in.Literal(`,"from":`)
	from := in.Time()
	in.Literal(`,"to":`)
	to := in.Time()
	in.Literal(`,"requests":`)
	requests := in.Integer()
	in.Literal(`,"errors":`)
	failures := in.Integer()
	in.Literal(`,"latency":`)
	s.Latency = Histogram{}
	scanHistogram(&in, &s.Latency)
	in.Literal(`}`)
	if !in.Done() {
		type ordinary Sampled
		s.Latency = Histogram{}
		if err := json.Unmarshal(data, (*ordinary)(s)); err != nil {
			return fmt.Errorf("decode a sample: %w", err)
		}
		return nil
	}
	s.ProviderID, s.From, s.To, s.Requests, s.Errors = string(id), from, to, requests, failures
	return nil
}

// UnmarshalJSON implements json.Unmarshaler, as Sampled's does.
func (p *Probed) UnmarshalJSON(data []byte) error {
	in := domain.Scan(data)
	in.Literal(`{"provider_id":`)
	id := in.Text()
	in.Literal(`,"ok":`)
	ok := in.Boolean()
	in.Literal(`,"latency_ms":`)
	latency := in.Integer()
	in.Literal(`,"models_found":`)
	models := in.Integer()
	failure := in.OptionalText(`,"error":`)
	in.Literal(`,"failures":`)
	failures := in.Integer()
	in.Literal(`,"trigger":`)
	trigger := in.Text()
	in.Literal(`,"checked_at":`)
	checked := in.Time()
	in.Literal(`}`)
	if !in.Done() {
		type ordinary Probed
		if err := json.Unmarshal(data, (*ordinary)(p)); err != nil {
			return fmt.Errorf("decode a probe: %w", err)
		}
		return nil
	}
	*p = Probed{
		ProviderID: string(id), OK: ok, LatencyMS: latency, ModelsFound: int(models), Error: string(failure), Failures: int(failures),
		Trigger: Trigger(trigger), CheckedAt: checked,
	}
	return nil
}

func scanHistogram(in *domain.Scanner, h *Histogram) {
	in.Literal("[")
	if in.Has("]") {
		return
	}
	for next := int64(0); !in.Failed(); {
		in.Literal("[")
		bucket := in.Integer()
		in.Literal(",")
		count := in.Integer()
		in.Literal("]")
		if in.Failed() || bucket < next || bucket >= Buckets || count < 1 {
			in.Fail()
			return
		}
		h.counts[bucket] = count
		next = bucket + 1
		if in.Has("]") {
			return
		}
		in.Literal(",")
	}
}
