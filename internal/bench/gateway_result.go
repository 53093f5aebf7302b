package bench

import (
	"fmt"
	"math"
	"strconv"
	"text/tabwriter"
)

const gatewayBench = "gateway"

// GatewayResult is one line of the results of Gateway. What was not measured is left out.
type GatewayResult struct {
	Bench string `json:"bench"`
	// Measure is paired, open_loop or streams; Variant who was called: upstream, full or bare.
	Measure string `json:"measure"`
	Variant string `json:"variant"`
	// Call is what the times are of: a plain call, or the time to the first token of a streamed one.
	Call string `json:"call"`
	// Rate is the requests a second that were due, Reached those that were answered rightly.
	Rate    int     `json:"rate,omitempty"`
	Reached float64 `json:"reached_per_s,omitempty"`
	// Calls counts the calls of all rounds, Errors those without the right answer.
	Calls  int  `json:"calls"`
	Errors *int `json:"errors,omitempty"`
	// Times are milliseconds. Added is the difference to the upstream itself, within pairs.
	AddedP50    float64 `json:"added_p50_ms,omitempty"`
	AddedP90    float64 `json:"added_p90_ms,omitempty"`
	P50         float64 `json:"p50_ms"`
	UpstreamP50 float64 `json:"upstream_p50_ms,omitempty"`
	P99         float64 `json:"p99_ms,omitempty"`
	Slowest     float64 `json:"max_ms,omitempty"`
	// Finished is how long it took from when all streams were open until all had come to their end.
	Finished float64 `json:"finished_ms,omitempty"`
	// RSS is the most resident memory of the Archon process, in MB of 10⁶ bytes; CPU its processor seconds per 1,000 calls.
	RSS float64 `json:"rss_mb,omitempty"`
	CPU float64 `json:"cpu_s_per_1000,omitempty"`
}

// rounded keeps three places.
func rounded(value float64) float64 {
	const places = 1000
	return math.Round(value*places) / places
}

func (c GatewayConfig) write(environment Environment, results []GatewayResult) error {
	if c.JSON {
		return writeLines(c.Out, environment, results)
	}
	return c.writeTable(environment, results)
}

func (c GatewayConfig) writeTable(e Environment, results []GatewayResult) error {
	const padding = 2
	table := tabwriter.NewWriter(c.Out, 0, 0, padding, ' ', tabwriter.AlignRight)
	fmt.Fprintf(c.Out, "%s, %d cores, load %.1f; %s\n", e.CPU, e.Cores, e.Load, e.PostgreSQL)
	fmt.Fprintf(c.Out, "%d rounds of %.1f s; fsync %s, synchronous_commit %s\n\n", e.Rounds, e.Seconds, e.Settings["fsync"], e.Settings["synchronous_commit"])
	fmt.Fprintln(table, "measure\tvariant\tcall\trate\tcalls\terrors\tadded p50 ms\tadded p90 ms\tp50 ms\tp99 ms\tmax ms\tMB\tCPU s/1000\t")
	for _, r := range results {
		errors := "-"
		if r.Errors != nil {
			errors = strconv.Itoa(*r.Errors)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Measure, r.Variant, r.Call, dash(float64(r.Rate)), r.Calls, errors,
			dash(r.AddedP50), dash(r.AddedP90), dash(r.P50), dash(r.P99), dash(r.Slowest), dash(math.Round(r.RSS)), dash(r.CPU))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}
