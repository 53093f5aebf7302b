package providers_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/archonhq/archon/domain/providers"
)

// plainSample is Sampled without its own parser.
type plainSample struct {
	ProviderID string              `json:"provider_id"`
	From       time.Time           `json:"from"`
	To         time.Time           `json:"to"`
	Requests   int64               `json:"requests"`
	Errors     int64               `json:"errors"`
	Latency    providers.Histogram `json:"latency"`
}

func FuzzSampledIsDecodedAsEncodingJSONDoes(f *testing.F) {
	for _, seed := range []string{
		`{"provider_id":"p","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:15.123456Z","requests":20,"errors":0,"latency":[[0,1],[159,7]]}`,
		`{"provider_id":"p","from":"2026-01-02T03:04:05+01:00","to":"2026-01-02T03:04:15Z","requests":20,"errors":0,"latency":[]}`,
		`{"provider_id":"\u0041","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:15Z","requests":-1,"errors":1e2,"latency":null}`,
		` {"errors":1, "requests":2 , "provider_id":"ä"}`,
		`{"provider_id":"p","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:15Z","requests":007,"errors":0,"latency":[]}`,
		`{"provider_id":"p","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:15Z","requests":7,"errors":0,"latency":[[3,1],[3,1]]}`,
		`{"provider_id":"p","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:15Z","requests":9223372036854775807,"errors":0,"latency":[[1,0]]}`,
		`{"provider_id":"p","from":"2026-01-02 03:04","to":"","requests":7,"errors":0,"latency":[]}`,
		`{"provider_id":"p","from":"2026-01-02T03:04:05Z","to":"2026-01-02T03:04:15Z","requests":7,"errors":0,"latency":[]}x`,
		`{`, ``, `null`, `[]`, `{"latency":[[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var plain plainSample
		want := json.Unmarshal(data, &plain)
		var got providers.Sampled
		err := got.UnmarshalJSON(data)
		if (err == nil) != (want == nil) {
			t.Fatalf("%s: %v, encoding/json says %v", data, err, want)
		}
		if err == nil && plainSample(got) != plain {
			t.Fatalf("%s: %+v, encoding/json says %+v", data, got, plain)
		}
	})
}

// plainProbe is Probed without its own parser.
type plainProbe struct {
	ProviderID  string            `json:"provider_id"`
	OK          bool              `json:"ok"`
	LatencyMS   int64             `json:"latency_ms"`
	ModelsFound int               `json:"models_found"`
	Error       string            `json:"error,omitempty"`
	Failures    int               `json:"failures"`
	Trigger     providers.Trigger `json:"trigger"`
	CheckedAt   time.Time         `json:"checked_at"`
}

func FuzzProbedIsDecodedAsEncodingJSONDoes(f *testing.F) {
	for _, seed := range []string{
		`{"provider_id":"p","ok":true,"latency_ms":37,"models_found":12,"failures":0,"trigger":"schedule","checked_at":"2026-01-02T03:04:05.123456Z"}`,
		`{"provider_id":"p","ok":false,"latency_ms":37,"models_found":0,"error":"401: no such key","failures":2,"trigger":"on_demand","checked_at":"2026-01-02T03:04:05+01:00"}`,
		`{"provider_id":"p","ok":false,"latency_ms":37,"models_found":0,"error":"it's \"away\" ü","failures":2,"trigger":"on_demand","checked_at":"2026-01-02T03:04:05Z"}`,
		`{"provider_id":"p","ok":null,"latency_ms":-1,"models_found":0,"error":null,"failures":2,"trigger":"x","checked_at":"2026-01-02T03:04:05Z"}`,
		`{"provider_id":"p","ok":falsetrue,"latency_ms":1,"models_found":0,"failures":2,"trigger":"x","checked_at":"2026-01-02T03:04:05Z"}`,
		` {"ok":true, "failures":2 , "provider_id":"ä"}`, `{`, ``, `null`, `[]`, `{"provider_id":"p","ok":true,"latency_ms":37,"models_found":12,"failures":0,"trigger":"schedule","checked_at":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var plain plainProbe
		want := json.Unmarshal(data, &plain)
		var got providers.Probed
		err := got.UnmarshalJSON(data)
		if (err == nil) != (want == nil) {
			t.Fatalf("%s: %v, encoding/json says %v", data, err, want)
		}
		if err == nil && plainProbe(got) != plain {
			t.Fatalf("%s: %+v, encoding/json says %+v", data, got, plain)
		}
	})
}

func TestWhatIsWrittenTakesTheFastWay(t *testing.T) { //nolint:paralleltest // allocations are counted
	sample := providers.Sampled{ProviderID: "0190a1b2-0000-7000-8000-000000000001", From: time.Unix(1e9, 0).UTC(), To: time.Unix(1e9+10, 1000).UTC(), Requests: 3, Errors: 1}
	for _, latency := range []float64{3, 70, 900} {
		sample.Latency.Add(latency)
	}
	data, err := json.Marshal(sample)
	if err != nil {
		t.Fatal(err)
	}
	const few = 5 // encoding/json needs some twenty
	if allocations := testing.AllocsPerRun(100, func() {
		var got providers.Sampled
		if got.UnmarshalJSON(data) != nil || got != sample {
			t.Error("the sample came back as another one")
		}
	}); allocations > few {
		t.Errorf("%v allocations of a sample", allocations)
	}
	probe := providers.Probed{ProviderID: sample.ProviderID, LatencyMS: 3, Error: "503: away", Failures: 2, Trigger: providers.OnSchedule, CheckedAt: sample.To}
	data, err = json.Marshal(probe)
	if err != nil {
		t.Fatal(err)
	}
	if allocations := testing.AllocsPerRun(100, func() {
		var got providers.Probed
		if got.UnmarshalJSON(data) != nil || got != probe {
			t.Error("the probe came back as another one")
		}
	}); allocations > few {
		t.Errorf("%v allocations of a probe", allocations)
	}
}
