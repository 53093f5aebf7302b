package exportcheck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/archonhq/archon/eventstore"
)

func TestLinesThatAreNone(t *testing.T) {
	t.Parallel()
	event := eventstore.Recorded{Tenant: "acme", Stream: "s", Type: "t.v1", Position: 1, Version: 1, PrevHash: make([]byte, 32), Hash: make([]byte, 32)}
	text, err := event.ExportLine()
	if err != nil {
		t.Fatal(err)
	}
	good := string(text)
	with := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("%s is not in the line", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	var l line
	for name, fine := range map[string]string{
		"as it is": good, "white space": " {\t" + good[1:len(good)-1] + "\r } ", "more members": "{" + `"x":{"a":[1,-2.5e+3,true,false,null,"\u00fc"],"b":{}},` + good[1:],
		"another order": `{"hash":"` + strings.Repeat("0", 64) + `",` + strings.Replace(good[1:], `,"hash":"`+strings.Repeat("0", 64)+`"`, "", 1),
		"a pair":        with(`"meta":""`, `"meta":"\ud83d\ude00\b\f\n\r\t\/"`),
	} {
		if err := l.parse([]byte(fine)); err != nil || l.kind != isEvent {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing": "", "no object": "[]", "a number": "1", "a cut line": good[:len(good)-1], "two lines": good + good, "a comma": good[:len(good)-1] + ",}",
		"a member twice": with(`"version":1`, `"version":1,"version":1`), "a member twice, once escaped": with(`"version":1`, `"version":1,"versio\u006e":1`),
		"in upper case": with(`"version":1`, `"Version":1`), "a member less": with(`"version":1,`, ``), "a fraction": with(`"version":1`, `"version":1.0`),
		"an exponent": with(`"version":1`, `"version":1e0`), "a zero before": with(`"version":1`, `"version":01`), "a number that is too large": with(`"version":1`, `"version":9223372036854775808`),
		"a minus zero": with(`"version":1`, `"version":-0`), "text for a number": with(`"version":1`, `"version":"1"`), "a number for text": with(`"stream":"s"`, `"stream":1`),
		"null": with(`"stream":"s"`, `"stream":null`), "half a pair": with(`"stream":"s"`, `"stream":"\ud800"`), "the other half": with(`"stream":"s"`, `"stream":"\udc00"`),
		"a half and something": with(`"stream":"s"`, `"stream":"\ud800x"`), "two first halves": with(`"stream":"s"`, `"stream":"\ud800\ud800"`), "an unknown escape": with(`"stream":"s"`, `"stream":"\x"`),
		"a control character": with(`"stream":"s"`, "\"stream\":\"\x01\""), "a cut escape": with(`"stream":"s"`, `"stream":"\u12"`), "broken UTF-8": with(`"stream":"s"`, "\"stream\":\"\xff\""),
		"a short hash": with(strings.Repeat("0", 64), strings.Repeat("0", 62)), "no hex": with(strings.Repeat("0", 64), strings.Repeat("g", 64)),
		"another form of UUID": with(uuid.Nil.String(), "{"+uuid.Nil.String()[2:]+"}"), "a date that is none": with("1970-01-01T", "1970-02-30T"),
		"a leap second": with("00:00:00.0", "23:59:60.0"), "another zone": with("00Z", "00z"), "fewer digits": with(".000000Z", ".000Z"), "an event and an anchor": with(`"version":1`, `"version":1,"anchor":{"position":1,"hash":"`+strings.Repeat("0", 64)+`"}`),
		"nested too deeply": `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "an anchor at 0": `{"anchor":{"position":0,"hash":"` + strings.Repeat("0", 64) + `"}}`,
		"an anchor without a hash": `{"anchor":{"position":1}}`, "an anchor that says it twice": `{"anchor":{"position":1,"position":1,"hash":"` + strings.Repeat("0", 64) + `"}}`,
		"a proof alone": `{"consistency":[]}`, "a proof that is none": `{"checkpoint":"x","consistency":[1]}`, "a proof without an end": `{"checkpoint":"x","consistency":[` + strings.Repeat(`"`+strings.Repeat("0", 64)+`",`, 200) + `""]}`,
	} {
		if err := l.parse([]byte(bad)); err == nil {
			t.Errorf("%s is taken for a line: %s", name, bad)
		}
	}
}

// What the store writes is what is read, whatever the event; buffers of earlier lines do not shine through.
func FuzzEventsComeBack(f *testing.F) {
	f.Add("acme", "thing-1", "t.v1", int64(1), int64(1), int64(0), []byte(`{"a":"<\u2028>"}`), []byte("ü\x00\"\\"))
	f.Add("", "", "", int64(-1), int64(9223372036854775807), int64(-1), []byte(nil), bytes.Repeat([]byte(`"`), 100))
	var l line
	f.Fuzz(func(t *testing.T, tenant, stream, name string, position, version, at int64, meta, data []byte) {
		for _, text := range []string{tenant, stream, name, string(meta), string(data)} {
			if !utf8.ValidString(text) {
				return // the store's text can be anything, but only UTF-8 has an export
			}
		}
		if year := time.UnixMicro(at).UTC().Year(); year < 1 || year > 9999 {
			return // no time of the format
		}
		hash := bytes.Repeat([]byte{byte(position)}, 32)
		event := eventstore.Recorded{
			Tenant: tenant, Stream: stream, Type: name, Position: position, Version: version, OccurredAt: at, EventID: uuid.New(), CommandID: uuid.New(),
			Meta: meta, Data: data, PrevHash: hash, Hash: hash,
		}
		text, err := event.ExportLine()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.parse(text); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if eventstore.Hash(&l.event) != eventstore.Hash(&event) || !bytes.Equal(l.event.Hash, hash) {
			t.Fatalf("%+v came back as %+v", event, l.event)
		}
	})
}

// Whatever is taken for a line is one to encoding/json too, which reads the same of it.
func FuzzLinesAreReadAsOthersReadThem(f *testing.F) {
	event := eventstore.Recorded{Tenant: "acme", Stream: "s", Type: "t.v1", Position: 1, Version: 1, PrevHash: make([]byte, 32), Hash: make([]byte, 32), Data: []byte(`{"a":"\ud83d\ude00"}`)}
	text, err := event.ExportLine()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(text), `{"checkpoint":"x\ny","consistency":[]}`, `{"anchor":{"position":1,"hash":"` + strings.Repeat("0", 64) + `","subtrees":[]}}`,
		`{"x":[{"y":-1.5E-3}],"checkpoint":""}`, `{"checkpoint":"\ud83d\ude00"}`,
	} {
		f.Add([]byte(seed))
	}
	var l line
	f.Fuzz(func(t *testing.T, text []byte) {
		if l.parse(text) != nil {
			return
		}
		var other map[string]any
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&other); err != nil {
			t.Fatalf("taken for a line: %q: %v", text, err)
		}
		switch l.kind {
		case isSeal:
			if other["checkpoint"] != l.note {
				t.Fatalf("%q and %q", l.note, other["checkpoint"])
			}
		case isAnchor:
			if got := other["anchor"].(map[string]any)["position"].(json.Number).String(); got != fmt.Sprint(l.anchor.position) {
				t.Fatalf("%d and %s", l.anchor.position, got)
			}
		case isEvent:
			e := &l.event
			mine := []string{e.Tenant, e.Stream, e.Type, string(e.Meta), string(e.Data), fmt.Sprint(e.Position), fmt.Sprint(e.Version), e.EventID.String(), e.CommandID.String(), e.Time().Format("2006-01-02T15:04:05.000000Z07:00")}
			var theirs []string
			for _, name := range []string{"tenant_id", "stream", "type", "meta", "data", "position", "version", "event_id", "command_id", "occurred_at"} {
				theirs = append(theirs, fmt.Sprint(other[name]))
			}
			if !reflect.DeepEqual(mine, theirs) {
				t.Fatalf("%q and %q", mine, theirs)
			}
		}
	})
}

// The memory of versions is bounded, and what it forgot is counted, not judged.
func TestVersionsAreBounded(t *testing.T) {
	t.Parallel()
	v := newVersions(true)
	if _, ok := v.next("first", 1); !ok {
		t.Error("a first version")
	}
	if want, ok := v.next("first", 3); ok || want != 2 {
		t.Errorf("a gap: %d", want)
	}
	for i := range maxStreams + maxStreams/2 {
		if _, ok := v.next(fmt.Sprint(i), 1); !ok {
			t.Fatal("a first version")
		}
	}
	if len(v.recent)+len(v.older) > maxStreams {
		t.Errorf("%d streams are remembered", len(v.recent)+len(v.older))
	}
	before := v.forgotten
	if _, ok := v.next("first", 9); !ok || v.forgotten != before+1 {
		t.Error("a stream that was forgotten is judged, or not counted")
	}
	if _, ok := v.next("first", 11); ok {
		t.Error("a gap, after it was forgotten once")
	}
	if _, ok := newVersions(false).next("x", 5); !ok {
		t.Error("a range may begin at any version")
	}
}
