package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"
)

// Result is the outcome of one variant: medians of the rounds.
type Result struct {
	Bench        string  `json:"bench"`
	Variant      string  `json:"variant"`
	Callers      int     `json:"callers,omitempty"`
	EventsPerSec float64 `json:"events_per_s"`
	// P50 and P99 are milliseconds of one call: an append of one event, a COPY of 1000.
	P50 float64 `json:"p50_ms,omitempty"`
	P99 float64 `json:"p99_ms,omitempty"`
	// Slowest is the slowest call of all rounds, in milliseconds: whoever starves shows here first.
	Slowest float64 `json:"max_ms,omitempty"`
	// alone keeps it from being compared with the first result.
	alone bool
}

// measurement is one round of one variant.
type measurement struct {
	events  int64
	elapsed time.Duration
	calls   []time.Duration
}

// merge sums rounds up.
func merge(bench, variant string, callers int, rounds []measurement) Result {
	var rates, p50s, p99s []float64
	slowest := 0.0
	for _, m := range rounds {
		rates = append(rates, float64(m.events)/m.elapsed.Seconds())
		if len(m.calls) == 0 {
			continue
		}
		slices.Sort(m.calls)
		p50s = append(p50s, millis(percentile(m.calls, 50)))
		p99s = append(p99s, millis(percentile(m.calls, 99)))
		slowest = max(slowest, millis(m.calls[len(m.calls)-1]))
	}
	return Result{
		Bench: bench, Variant: variant, Callers: callers,
		EventsPerSec: math.Round(median(rates)), P50: median(p50s), P99: median(p99s), Slowest: slowest,
	}
}

// percentile is the nearest-rank percentile of sorted values.
func percentile(sorted []time.Duration, percent int) time.Duration {
	const whole = 100
	rank := (len(sorted)*percent + whole - 1) / whole
	return sorted[max(rank, 1)-1]
}

// millis rounds to microseconds.
func millis(d time.Duration) float64 {
	const microsPerMilli = 1000
	return float64(d.Round(time.Microsecond).Microseconds()) / microsPerMilli
}

// median is 0 for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// write prints a run's results, the first of which is the one that the others are compared with in the table.
func (c Config) write(environment Environment, results []Result) error {
	if c.JSON {
		return writeLines(c.Out, environment, results)
	}
	return writeTable(c.Out, environment, results)
}

// writeLines prints each as a line of JSON.
func writeLines[T any](out io.Writer, environment Environment, results []T) error {
	lines := json.NewEncoder(out)
	if err := lines.Encode(environment); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	for _, r := range results {
		if err := lines.Encode(r); err != nil {
			return fmt.Errorf("write the results: %w", err)
		}
	}
	return nil
}

func writeTable(out io.Writer, e Environment, results []Result) error {
	const padding = 2
	table := tabwriter.NewWriter(out, 0, 0, padding, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "%s, %d cores; %s\n", e.CPU, e.Cores, e.PostgreSQL)
	fmt.Fprintf(out, "medians of %d interleaved rounds; fsync %s, synchronous_commit %s\n\n", e.Rounds, e.Settings["fsync"], e.Settings["synchronous_commit"])
	fmt.Fprintln(table, "bench\tvariant\tcallers\tevents/s\tp50 ms\tp99 ms\tmax ms\tarchon is\t")
	for _, r := range results {
		ratio := "-"
		if r.Variant != results[0].Variant && r.EventsPerSec > 0 && !r.alone {
			ratio = fmt.Sprintf("%.2f ×", results[0].EventsPerSec/r.EventsPerSec)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%.0f\t%s\t%s\t%s\t%s\t\n",
			r.Bench, r.Variant, dash(float64(r.Callers)), r.EventsPerSec, dash(r.P50), dash(r.P99), dash(r.Slowest), ratio)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}

// dash is a number as it is, or a dash for one that was not measured.
func dash(number float64) string {
	if number == 0 {
		return "-"
	}
	return strconv.FormatFloat(number, 'f', -1, 64)
}
