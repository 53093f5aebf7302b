package dialect

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

type event struct {
	name, data string
	unfinished bool
}

func eventsOf(t *testing.T, source io.Reader, how framing) ([]event, error) {
	t.Helper()

	split := splitter{source: source, framing: how}

	var events []event

	for {
		name, data, unfinished, err := split.next()
		if err != nil {
			return events, err
		}

		events = append(events, event{name, string(data), unfinished})

		if len(events) > 1<<16 {
			t.Fatal("events without end")
		}
	}
}

func TestSplittingServerSentEvents(t *testing.T) {
	t.Parallel()

	for text, want := range map[string][]event{
		"":                                      nil,
		"data: a\n\n":                           {{data: "a"}},
		"data:a\n\ndata:  b\n\n":                {{data: "a"}, {data: " b"}},
		"data: a\r\n\r\ndata: b\r\rdata: c\n\n": {{data: "a"}, {data: "b"}, {data: "c"}},
		"event: e\ndata: a\n\ndata: b\n\n":      {{name: "e", data: "a"}, {data: "b"}},
		"data: a\nevent: e\ndata: b\n\n":        {{name: "e", data: "a\nb"}},
		"data: a\ndata\ndata: c\n\n":            {{data: "a\n\nc"}},
		": comment\n\nretry: 3\n\ndata: a\n\n":  {{data: "a"}},
		"event: lonely\n\ndata: a\n\n":          {{data: "a"}},
		"\xef\xbb\xbfdata: a\n\n":               {{data: "a"}},
		"\ndata: \xef\xbb\xbfa\n\n":             {{data: "\xef\xbb\xbfa"}},
		"data: a\n":                             {{data: "a", unfinished: true}},
		"data: a":                               {{data: "a", unfinished: true}},
		"data: a\n\ndata: [DO":                  {{data: "a"}, {data: "[DO", unfinished: true}},
		"data:\n\n":                             {{}},
		"event: e":                              nil,
	} {
		got, err := eventsOf(t, strings.NewReader(text), serverSentEvents)
		if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestSplittingJSONLines(t *testing.T) {
	t.Parallel()

	got, err := eventsOf(t, strings.NewReader("{\"a\":1}\n\n  \r\n{\"b\":2}\r\n{\"c\""), jsonLines)
	want := []event{{data: `{"a":1}`}, {data: `{"b":2}`}, {data: `{"c"`, unfinished: true}}

	if !errors.Is(err, io.EOF) || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSplittingKeepsTheSourcesError(t *testing.T) {
	t.Parallel()

	source := io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(io.ErrUnexpectedEOF))

	got, err := eventsOf(t, source, serverSentEvents)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !slices.Equal(got, []event{{data: "a"}}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSplittingBoundsAnEvent(t *testing.T) {
	t.Parallel()

	for text, fits := range map[string]bool{
		"data: " + strings.Repeat("x", 1<<20) + "\n\n":              true,
		"data: " + strings.Repeat("x", maxEventBytes) + "\n\n":      false,
		strings.Repeat("data: xxxxxxxxxxxxxxx\n", maxEventBytes/16): false,
		": " + strings.Repeat("x", maxEventBytes) + "\n\n":          false,
	} {
		_, err := eventsOf(t, strings.NewReader(text), serverSentEvents)
		if errors.Is(err, errEventTooLarge) == fits {
			t.Errorf("%.20s…: got %v", text, err)
		}
	}

	endless := strings.Repeat("data: an event of the usual size\n\n", 1<<18)
	if got, err := eventsOf(t, strings.NewReader(endless[:1<<20]), serverSentEvents); !errors.Is(err, io.EOF) || len(got) < 1<<14 {
		t.Errorf("many small events: got %d, %v", len(got), err)
	}
}

// pieces hands bytes out in pieces whose sizes are given, over and over.
type pieces struct {
	rest  []byte
	sizes []byte
	at    int
}

func (p *pieces) Read(into []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}

	size := 1
	if len(p.sizes) > 0 {
		size = 1 + int(p.sizes[p.at%len(p.sizes)])
		p.at++
	}

	n := copy(into, p.rest[:min(size, len(p.rest))])
	p.rest = p.rest[n:]

	return n, nil
}

// Whatever pieces the bytes come in, the events are the same.
func FuzzSplitting(f *testing.F) {
	f.Add([]byte("event: e\r\ndata: a\r\n\r\ndata: b\n\n: c\n\ndata: [DONE]\n\n"), []byte{0, 2, 7}, true)
	f.Add([]byte("\xef\xbb\xbfdata: a\r\rdata: b"), []byte{}, true)
	f.Add([]byte("{\"a\":1}\r\n{\"b\":2}\n"), []byte{3}, false)
	f.Add(bytes.Repeat([]byte("data: 0123456789\n"), 1200), []byte{255, 1}, true)

	f.Fuzz(func(t *testing.T, text, sizes []byte, sse bool) {
		how := jsonLines
		if sse {
			how = serverSentEvents
		}

		whole, wholeErr := eventsOf(t, bytes.NewReader(text), how)
		cut, cutErr := eventsOf(t, &pieces{rest: text, sizes: sizes}, how)

		if !slices.Equal(whole, cut) || !errors.Is(wholeErr, cutErr) {
			t.Errorf("in one piece %+v %v, in several %+v %v", whole, wholeErr, cut, cutErr)
		}
	})
}
