package usage_test

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/usage"
)

// plainRecorded is Recorded without its own parser.
type plainRecorded usage.Recorded

func FuzzRecordedIsDecodedAsEncodingJSONDoes(f *testing.F) {
	golden, err := os.ReadFile("testdata/usage.recorded.v1.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(encode(f, full()))
	f.Add(encode(f, usage.Recorded{}))
	const before = `{"call_id":"c","kind":"chat","started_at":"2026-03-01T12:00:00Z","outcome":"failed","status":0,"attempts":`
	const after = `,"tokens":{"input":1,"cache_read":0,"cache_write":0,"output":0,"reasoning":0},"usage_source":"none","latency_us":0}`
	for _, between := range []string{
		`null`, `[]`, `[],"decision":null`, `[],"decision":{"a":[],"b":{},"c":[1,-0.5e+7,true,false,null,"\u00e4\n\"ä"]}`, `[],"decision":{"a":01}`, `[],"decision":[1,]`,
		`[],"decision":{"a" :1}`, `[],"decision":"\x"`, `[],"decision":"\u12"`, "[],\"decision\":\"\t\"", `[],"decision":-`, `[],"decision":1.`, `[],"decision":1e`, `[],"decision":{`, `[],"decision":nul`,
		`[],"decision":{,}`, `[],"decision":[[[[]]]],"decision":2`, `[{"provider_id":"p","model":"m","outcome":"timeout","latency_us":1}]`,
		`[{"provider_id":"p","model":"m","outcome":"timeout","latency_us":1,"error":"it's \"away\" ü"},{}]`, `[{"provider_id":"p","model":null,"outcome":"x","latency_us":-1}]`, `[null]`,
	} {
		f.Add([]byte(before + between + after))
	}
	for _, seed := range []string{`{`, ``, `null`, `[]`, ` {"status":1, "call_id":"ä"}`, before + `[]` + after + ` `, before + `[]` + after + `x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var plain plainRecorded
		want := json.Unmarshal(data, &plain)
		var got usage.Recorded
		err := got.UnmarshalJSON(data)
		if (err == nil) != (want == nil) {
			t.Fatalf("%s: %v, encoding/json says %v", data, err, want)
		}
		if err == nil && !reflect.DeepEqual(plainRecorded(got), plain) {
			t.Fatalf("%s: %+v, encoding/json says %+v", data, got, plain)
		}
	})
}

// full is a call of which every field is set.
func full() usage.Recorded {
	tokens := domain.Tokens{Input: 1, CacheRead: 2, CacheWrite: 3, Output: 4, Reasoning: 5}
	return usage.Recorded{
		CallID: "0190a1b2-0000-7000-8000-000000000001", Kind: usage.Chat, Streamed: true, StartedAt: time.Unix(1e9, 1000).UTC(),
		KeyID: "k", UserID: "u", DepartmentID: "d", AgentID: "a", ExecutionID: "e", RequestedModel: "r", ProviderID: "p", ProviderType: "openai", Model: "m",
		Outcome: usage.Incomplete, Status: 200, Code: "stream_cut",
		Attempts: []usage.Attempt{
			{ProviderID: "q", Model: "n", Outcome: "timeout", Status: 504, LatencyUS: 7, FirstByteUS: 6, Error: "504: away", Tokens: tokens, Source: "estimated", CostUSD: "0.0000000001"},
			{ProviderID: "p", Model: "m", Outcome: "succeeded"},
		},
		Decision: json.RawMessage(`{"v":1,"draw":"17","candidates":[{"id":"p","latency_us":-1.5e3}]}`), Tokens: tokens, Source: "provider",
		RawUsage: json.RawMessage(`{"a":"ü"}`), Price: json.RawMessage(`{"source":"list"}`), CostUSD: "0.0000012345", Unpriced: true,
		LatencyUS: 4711, FirstTokenUS: 1234, Suppressed: 3,
	}
}

func encode(tb testing.TB, recorded usage.Recorded) []byte {
	tb.Helper()
	data, err := json.Marshal(recorded)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestWhatIsWrittenTakesTheFastWay(t *testing.T) { //nolint:paralleltest // allocations are counted
	want := full()
	data := encode(t, want)
	const few = 30 // a text each; encoding/json needs more than a hundred
	if allocations := testing.AllocsPerRun(100, func() {
		var got usage.Recorded
		if got.UnmarshalJSON(data) != nil || got.CallID != want.CallID {
			t.Error("the call came back as another one")
		}
	}); allocations > few {
		t.Errorf("%v allocations of a call", allocations)
	}
	var got usage.Recorded
	if err := json.Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, full())
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var got usage.Recorded
		if err := got.UnmarshalJSON(data); err != nil {
			b.Fatal(err)
		}
	}
}

func TestACallThatIsDecodedAgainHasNothingOfTheOneBefore(t *testing.T) {
	t.Parallel()
	var got usage.Recorded
	for _, want := range []usage.Recorded{full(), {CallID: "c", Attempts: []usage.Attempt{{Model: "m"}}}, full()} {
		if err := got.UnmarshalJSON(encode(t, want)); err != nil {
			t.Fatal(err)
		}
		if string(encode(t, got)) != string(encode(t, want)) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	got.Reset()
	if string(encode(t, got)) != string(encode(t, usage.Recorded{Attempts: []usage.Attempt{}})) {
		t.Errorf("%+v after a reset", got)
	}
}
