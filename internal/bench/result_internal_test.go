package bench

import (
	"testing"
	"time"
)

func TestMergeTakesMedians(t *testing.T) {
	t.Parallel()
	round := func(events int64, slowest time.Duration) measurement {
		calls := make([]time.Duration, 100)
		for i := range calls {
			calls[len(calls)-1-i] = time.Duration(i+1) * time.Millisecond
		}
		calls[0] = slowest
		return measurement{events: events, elapsed: 2 * time.Second, calls: calls}
	}
	got := merge("append", "archon", 8, []measurement{round(200, 100*time.Millisecond), round(9000, time.Second), round(400, 200*time.Millisecond)})
	want := Result{Bench: "append", Variant: "archon", Callers: 8, EventsPerSec: 200, P50: 50, P99: 99, Slowest: 1000}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := merge("verify", "copy", 0, []measurement{{events: 10, elapsed: time.Second}, {events: 20, elapsed: time.Second}}); got.EventsPerSec != 15 || got.P99 != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		percent int
		values  []time.Duration
		want    time.Duration
	}{{50, []time.Duration{1}, 1}, {99, []time.Duration{1, 2}, 2}, {50, []time.Duration{1, 2}, 1}, {50, []time.Duration{1, 2, 3}, 2}} {
		if got := percentile(test.values, test.percent); got != test.want {
			t.Errorf("%d%% of %v is %v", test.percent, test.values, got)
		}
	}
	if median(nil) != 0 {
		t.Error("the median of nothing is 0")
	}
}

func TestRowsHaveTheSizeThatTheTargetsAreDefinedFor(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 999, 200_000, 10_000_000} {
		if size := len(payload(n)); size < 400 || size > 440 {
			t.Errorf("payload %d has %d bytes: %s", n, size, payload(n))
		}
	}
	if size := len(meta); size < 105 || size > 120 {
		t.Errorf("meta has %d bytes", size)
	}
	if string(payload(1)) == string(payload(2)) {
		t.Error("payloads are the same")
	}
}

func TestScratchNamesItsDatabaseInBothFormsOfConnectionStrings(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:p@h:1/db?sslmode=disable": "postgres://u:p@h:1/s?sslmode=disable",
		"host=h user=u dbname=db":               "host=h user=u dbname=db dbname=s",
	} {
		if got := (&Scratch{ownerDSN: dsn, name: "s"}).DSN(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
