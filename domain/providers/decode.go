package providers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// UnmarshalJSON implements json.Unmarshaler. Samples are most of a busy log, so what MarshalJSON writes is read by a
// parser that knows its form; anything else takes the ordinary way.
func (s *Sampled) UnmarshalJSON(data []byte) error {
	in := scanner{rest: data}
	in.literal(`{"provider_id":`)
	id := in.text()
	in.literal(`,"from":`)
	from := in.time()
	in.literal(`,"to":`)
	to := in.time()
	in.literal(`,"requests":`)
	requests := in.integer()
	in.literal(`,"errors":`)
	failures := in.integer()
	in.literal(`,"latency":`)
	s.Latency = Histogram{}
	in.histogram(&s.Latency)
	in.literal(`}`)
	if in.failed || len(in.rest) > 0 {
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
	in := scanner{rest: data}
	in.literal(`{"provider_id":`)
	id := in.text()
	in.literal(`,"ok":`)
	ok := in.boolean()
	in.literal(`,"latency_ms":`)
	latency := in.integer()
	in.literal(`,"models_found":`)
	models := in.integer()
	failure := in.optionalText(`,"error":`)
	in.literal(`,"failures":`)
	failures := in.integer()
	in.literal(`,"trigger":`)
	trigger := in.text()
	in.literal(`,"checked_at":`)
	checked := in.time()
	in.literal(`}`)
	if in.failed || len(in.rest) > 0 {
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

// scanner reads JSON without space and without escapes. Once something else comes, it has failed, and reads on in vain.
type scanner struct {
	rest   []byte
	failed bool
}

func (s *scanner) literal(want string) {
	if s.failed || len(s.rest) < len(want) || string(s.rest[:len(want)]) != want {
		s.failed = true
		return
	}
	s.rest = s.rest[len(want):]
}

// text reads a string of printable ASCII.
func (s *scanner) text() []byte {
	s.literal(`"`)
	end := bytes.IndexByte(s.rest, '"')
	if s.failed || end < 0 {
		s.failed = true
		return nil
	}
	text := s.rest[:end]
	for _, c := range text {
		if c < ' ' || c > '~' || c == '\\' {
			s.failed = true
			return nil
		}
	}
	s.rest = s.rest[end+1:]
	return text
}

// optionalText reads a text, if it comes with its name.
func (s *scanner) optionalText(name string) []byte {
	if s.failed || !bytes.HasPrefix(s.rest, []byte(name)) {
		return nil
	}
	s.literal(name)
	return s.text()
}

func (s *scanner) boolean() bool {
	if !s.failed && bytes.HasPrefix(s.rest, []byte("true")) {
		s.literal("true")
		return true
	}
	s.literal("false")
	return false
}

func (s *scanner) time() time.Time {
	var at time.Time
	if text := s.text(); !s.failed && at.UnmarshalText(text) != nil {
		s.failed = true
	}
	return at
}

// integer reads a whole number that is not negative and has at most 18 digits, which fit.
func (s *scanner) integer() int64 {
	const ten, most = 10, 18
	var value int64
	length := 0
	for length < len(s.rest) && s.rest[length] >= '0' && s.rest[length] <= '9' {
		if length == most {
			s.failed = true
			return 0
		}
		value = value*ten + int64(s.rest[length]-'0')
		length++
	}
	if length == 0 || (length > 1 && s.rest[0] == '0') {
		s.failed = true
		return 0
	}
	s.rest = s.rest[length:]
	return value
}

func (s *scanner) histogram(h *Histogram) {
	s.literal("[")
	if !s.failed && len(s.rest) > 0 && s.rest[0] == ']' {
		s.literal("]")
		return
	}
	for next := int64(0); !s.failed; {
		s.literal("[")
		bucket := s.integer()
		s.literal(",")
		count := s.integer()
		s.literal("]")
		if s.failed || bucket < next || bucket >= Buckets || count < 1 {
			s.failed = true
			return
		}
		h.counts[bucket] = count
		next = bucket + 1
		if len(s.rest) > 0 && s.rest[0] == ']' {
			s.literal("]")
			return
		}
		s.literal(",")
	}
}
