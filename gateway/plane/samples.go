package plane

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/archonhq/archon/domain/providers"
)

const (
	// sampleSpan is how long calls are rolled up into one event; it is the width of the finest slot that health is kept in,
	// and samples begin at multiples of it.
	sampleSpan = 10 * time.Second
	// sampleLook is how often it is looked for spans that are over.
	sampleLook = time.Second
	// sampleTimeout bounds the recording of one sample.
	sampleTimeout = 5 * time.Second
)

// Samples rolls up what attempts came to, by provider and span, into the telemetry that health is made of. What has not
// been recorded when the process is killed is lost: at most the last ten seconds of telemetry; the calls themselves are in
// the log.
type Samples struct {
	// Record appends a roll-up.
	Record func(ctx context.Context, tenant string, sample providers.Sampled) error
	Now    func() time.Time
	Log    *slog.Logger

	mu   sync.Mutex
	open map[sampleKey]*providers.Sampled
}

type sampleKey struct {
	tenant, provider string
	from             int64
}

// Add counts one attempt. failed is whether it was the provider's fault.
func (s *Samples) Add(tenant, provider string, latency time.Duration, failed bool) {
	from := s.Now().Truncate(sampleSpan).UTC()
	key := sampleKey{tenant, provider, from.Unix()}
	s.mu.Lock()
	defer s.mu.Unlock()
	sample, found := s.open[key]
	if !found {
		if s.open == nil {
			s.open = map[sampleKey]*providers.Sampled{}
		}
		sample = &providers.Sampled{ProviderID: provider, From: from, To: from.Add(sampleSpan)}
		s.open[key] = sample
	}
	sample.Requests++
	if failed {
		sample.Errors++
	}
	sample.Latency.Add(float64(latency) / float64(time.Millisecond))
}

// Run records each span once it is over, until ctx ends. Flush records what is left then.
func (s *Samples) Run(ctx context.Context) error {
	ticker := time.NewTicker(sampleLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.flush(ctx, s.Now())
		}
	}
}

// Flush records, within ctx, also the spans that are not over. What can't be recorded is dropped.
func (s *Samples) Flush(ctx context.Context) {
	s.flush(ctx, s.Now().Add(sampleSpan))
	if left := len(s.take(s.Now().Add(sampleSpan))); left > 0 {
		s.Log.WarnContext(ctx, "health samples dropped", slog.Int("samples", left))
	}
}

// flush records the spans that were over at a time. One that can't be recorded is kept for the next try while it is recent.
func (s *Samples) flush(ctx context.Context, over time.Time) {
	const keep = 5 * time.Minute
	for key, sample := range s.take(over) {
		bounded, cancel := context.WithTimeout(ctx, sampleTimeout)
		err := s.Record(bounded, key.tenant, *sample)
		cancel()
		if err == nil {
			continue
		}
		if over.Sub(sample.To) > keep {
			s.Log.WarnContext(ctx, "health sample dropped", slog.String("provider", key.provider), slog.Any("error", err))
			continue
		}
		s.putBack(key, sample)
	}
}

func (s *Samples) take(over time.Time) map[sampleKey]*providers.Sampled {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := map[sampleKey]*providers.Sampled{}
	for key, sample := range s.open {
		if !sample.To.After(over) {
			taken[key] = sample
			delete(s.open, key)
		}
	}
	return taken
}

func (s *Samples) putBack(key sampleKey, sample *providers.Sampled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if later, found := s.open[key]; found { // a clock that was set back
		sample.Requests, sample.Errors = sample.Requests+later.Requests, sample.Errors+later.Errors
		sample.Latency.Merge(&later.Latency)
	}
	s.open[key] = sample
}
