package exportcheck_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/eventstore/exportcheck"
)

// verify is the verdict on lines.
func verify(t *testing.T, l *log, lines []string, since ...string) exportcheck.Report {
	t.Helper()
	report, err := exportcheck.Verify(file(lines), exportcheck.Options{Keys: []string{l.key}, Since: since})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func expect(t *testing.T, report exportcheck.Report, verdict exportcheck.Verdict, position int64, words string) {
	t.Helper()
	if report.Verdict != verdict || report.Position != position || !strings.Contains(report.Reason, words) {
		t.Errorf("got verdict %d, position %d, %q; want %d, %d, %q", report.Verdict, report.Position, report.Reason, verdict, position, words)
	}
	if verdict != exportcheck.Sound && report.Reason == "" || len(report.NotProven) < 3 {
		t.Errorf("says too little: %+v", report)
	}
}

func TestSoundExports(t *testing.T) {
	t.Parallel()
	const events = 23
	l := newLog(t, "acme", events)
	whole := verify(t, l, l.export(), l.checkpoint(1), l.checkpoint(8), l.checkpoint(events))
	expect(t, whole, exportcheck.Sound, 0, "")
	if whole.Tenant != "acme" || whole.From != 1 || whole.To != events || whole.Older != 3 || whole.Checkpoint.Size != events {
		t.Errorf("%+v", whole)
	}
	for from := 1; from <= events; from++ {
		for to := from; to <= events; to++ {
			report := verify(t, l, l.part(from, to))
			expect(t, report, exportcheck.Sound, 0, "")
			if report.From != int64(from) || report.To != int64(to) {
				t.Fatalf("%d to %d: %+v", from, to, report)
			}
		}
	}
	for from := 2; from <= events; from++ { // an older checkpoint at the anchor, and one within the range
		expect(t, verify(t, l, l.part(from, events), l.checkpoint(from-1), l.checkpoint(from)), exportcheck.Sound, 0, "")
	}
}

func TestHowAFileIsRead(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 5)
	l.add("big-1", strings.Repeat("x", 3<<20)) // longer than the buffer
	l.add("after-1", "{}")
	for name, reader := range map[string]io.Reader{
		"byte by byte":              iotest.OneByteReader(file(newLogLines(l))),
		"at once":                   file(newLogLines(l)),
		"without the last break":    strings.NewReader(strings.Join(newLogLines(l), "\n")),
		"with the end and the data": iotest.DataErrReader(file(newLogLines(l))),
	} {
		report, err := exportcheck.Verify(reader, exportcheck.Options{Keys: []string{l.key}})
		if err != nil || report.Verdict != exportcheck.Sound {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
	}
	failure := errors.New("the disk is on fire")
	if _, err := exportcheck.Verify(iotest.ErrReader(failure), exportcheck.Options{Keys: []string{l.key}}); !errors.Is(err, failure) {
		t.Errorf("a fault became %v", err)
	}
	endless := io.MultiReader(strings.NewReader(`{"tenant_id":"`), &zeroes{})
	report, err := exportcheck.Verify(endless, exportcheck.Options{Keys: []string{l.key}})
	if err != nil || report.Verdict != exportcheck.Tampered || !strings.Contains(report.Reason, "longer than any event") {
		t.Errorf("a line without an end: %+v, %v", report, err)
	}
}

func newLogLines(l *log) []string { return l.export() }

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// Every byte of every line counts, whatever the line is, except where JSON says the same in other words.
func TestEveryByteCounts(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 4)
	text := strings.Join(l.export(), "\n") + "\n"
	silent := 0
	for i := range text {
		for _, bit := range []int{i % 8, 5} { // the fifth turns small letters into capitals
			changed := []byte(text)
			changed[i] ^= 1 << bit
			report, err := exportcheck.Verify(bytes.NewReader(changed), exportcheck.Options{Keys: []string{l.key}})
			if err != nil {
				t.Fatal(err)
			}
			if report.Verdict == exportcheck.Sound && !means(t, changed, text) {
				silent++
				t.Errorf("bit %d of byte %d (%q → %q) is not noticed", bit, i, text[i], changed[i])
			}
			if silent > 5 {
				t.FailNow()
			}
		}
	}
}

// means tells whether two files say the same, as encoding/json reads them.
func means(t *testing.T, changed []byte, text string) bool {
	t.Helper()
	read := func(file []byte) (lines []any) {
		for line := range bytes.Lines(file) {
			var value any
			if err := json.Unmarshal(line, &value); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, value)
		}
		return lines
	}
	return reflect.DeepEqual(read(changed), read([]byte(text)))
}

// Wherever a file is cut, it is incomplete, not sound and not tampered with.
func TestCutFiles(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 3)
	text := strings.Join(l.export(), "\n") + "\n"
	for end := range len(text) - 1 {
		report, err := exportcheck.Verify(strings.NewReader(text[:end]), exportcheck.Options{Keys: []string{l.key}})
		if err != nil || report.Verdict != exportcheck.Incomplete {
			t.Fatalf("cut at %d: %+v, %v", end, report, err)
		}
	}
}

// crime is an export that somebody made, and what is to be said of it.
type crime struct {
	name     string
	lines    []string
	since    []string
	verdict  exportcheck.Verdict
	position int64
	words    string
}

// crimes are exports of l, which has nine events.
func crimes(t *testing.T, l *log) []crime {
	t.Helper()
	const events = 9
	lines := l.export()
	other := newLog(t, "globex", events)
	swap := func(a, b int) []string {
		swapped := slices.Clone(lines)
		swapped[a-1], swapped[b-1] = swapped[b-1], swapped[a-1]
		return swapped
	}
	changed := func(change func(l *log)) *log {
		c := l.copied()
		change(c)
		return c
	}
	// rewritten from position 4 on, with all hashes.
	forged := changed(func(c *log) { c.events[3].Data = []byte("{}"); c.rehash(3) })
	own := changed(func(c *log) { // position 4 with its own hash
		c.events[3].Data = []byte("{}")
		sum := eventstore.Hash(&c.events[3])
		c.events[3].Hash = sum[:]
	})
	relinked := changed(func(c *log) { // position 4 with another link, and the hash that goes with it
		c.events[3].PrevHash = c.events[1].Hash
		sum := eventstore.Hash(&c.events[3])
		c.events[3].Hash = sum[:]
	})
	foreign := changed(func(c *log) { c.signer, _ = c.newKey("acme") })
	var inserted, movedUp []string
	extra := changed(func(c *log) { c.events[3].Stream = "intruder-1"; c.events[3].Version = 1; c.rehash(3) })
	inserted = extra.lines(4, 4)
	up := changed(func(c *log) {
		for i := 3; i < events; i++ {
			c.events[i].Position++
		}
	})
	movedUp = up.lines(4, events)
	return []crime{
		{"the first is gone", lines[1:], nil, exportcheck.Tampered, 1, "position 1 is missing"},
		{"one is gone", slices.Delete(slices.Clone(lines), 4, 5), nil, exportcheck.Tampered, 5, "position 5 is missing"},
		{"the last is gone", slices.Delete(slices.Clone(lines), events-1, events), nil, exportcheck.Tampered, events, "position 9 is missing: the checkpoint is of 9"},
		{"all are gone", lines[events:], nil, exportcheck.Incomplete, 0, "no events"},
		{"two are swapped", swap(3, 4), nil, exportcheck.Tampered, 3, "position 3 is missing"},
		{"one stands twice", slices.Insert(slices.Clone(lines), 4, lines[3]), nil, exportcheck.Tampered, 4, "stands twice"},
		{"one from before again", slices.Insert(slices.Clone(lines), 4, lines[1]), nil, exportcheck.Tampered, 5, "position 2 stands in its place"},
		{"another tenant's", slices.Replace(slices.Clone(lines), 4, 5, other.lines(5, 5)[0]), nil, exportcheck.Tampered, 5, "another tenant's"},
		{"one rewritten with its hash", append(own.lines(1, events), l.seal(l.checkpoint(events))), nil, exportcheck.Tampered, 4, "together with its hash"},
		{"one relinked with its hash", append(relinked.lines(1, events), l.seal(l.checkpoint(events))), nil, exportcheck.Tampered, 4, "together with its hashes"},
		{"one relinked, and the one after it gone", append(append(relinked.lines(1, 4), relinked.lines(6, events)...), l.seal(l.checkpoint(events))), nil, exportcheck.Tampered, 3, "together with its hash"},
		{"one inserted, the rest moved up", append(append(append(l.lines(1, 3), inserted...), movedUp...), l.seal(l.checkpoint(events))), nil, exportcheck.Tampered, 4, "was inserted"},
		{"the last one rewritten with its hash", append(changed(func(c *log) { c.events[8].Data = nil; c.rehash(8) }).lines(1, events), l.seal(l.checkpoint(events))), nil, exportcheck.Tampered, 1, "rewritten together with all hashes"},
		{"a suffix rewritten, the checkpoint kept", append(forged.lines(1, events), l.seal(l.checkpoint(events))), nil, exportcheck.Tampered, 1, "rewritten together with all hashes"},
		{"a suffix rewritten, the checkpoint kept, an older one at hand", append(forged.lines(1, events), l.seal(l.checkpoint(events))), []string{l.checkpoint(3)}, exportcheck.Tampered, 4, "rewritten"},
		{"a suffix rewritten and signed", forged.export(), []string{l.checkpoint(2), l.checkpoint(6)}, exportcheck.Tampered, 3, "a fork"},
		{"a suffix rewritten and signed, nothing at hand", forged.export(), nil, exportcheck.Sound, 0, ""},
		{"a tail cut off and signed", changed(func(c *log) { c.events = c.events[:6] }).export(), []string{l.checkpoint(8)}, exportcheck.Tampered, 7, "an older checkpoint is of 8 events"},
		{"signed with another key", foreign.export(), nil, exportcheck.Tampered, 0, "with another key"},
		{"without a checkpoint", lines[:events], nil, exportcheck.Incomplete, 0, "no checkpoint"},
		{"without a signature", append(l.lines(1, events), l.seal(strings.Split(l.checkpoint(events), "\n\n")[0]+"\n\n")), nil, exportcheck.Tampered, 0, "does not count"},
		{"another tenant's checkpoint", append(l.lines(1, events), l.seal(l.signed(eventstore.Checkpoint{Origin: "test/globex/1", Size: events}))), nil, exportcheck.Tampered, 0, "does not count"},
		{"an unsealed tail", append(l.lines(1, events), l.seal(l.checkpoint(7))), nil, exportcheck.Incomplete, 0, "from position 8 on are not sealed"},
		{"more after the checkpoint", append(slices.Clone(lines), lines[0]), nil, exportcheck.Tampered, 10, "follows the checkpoint"},
		{"an empty line", append(slices.Clone(lines), ""), nil, exportcheck.Tampered, 10, "line 11"},
		{"time goes back", changed(func(c *log) { c.events[5].OccurredAt -= 3_600_000_000; c.rehash(5) }).export(), nil, exportcheck.Tampered, 6, "time goes back"},
		{"a version is left out", changed(func(c *log) { c.events[5].Version++; c.rehash(5) }).export(), nil, exportcheck.Tampered, 6, "has version 3 of its stream, after which comes 2"},
		{"a stream begins late", changed(func(c *log) { c.events[0].Version = 2; c.rehash(0) }).export(), nil, exportcheck.Tampered, 1, "version 2"},
		{"an anchor that is another", slices.Insert(l.part(5, 9)[1:], 0, forged.part(5, 9)[0]), nil, exportcheck.Tampered, 5, ""},
		{"an anchor without subtrees", slices.Insert(l.part(5, 9)[1:], 0, `{"anchor":{"position":4,"hash":"`+strings.Split(l.part(5, 9)[0], `"hash":"`)[1][:64]+`"}}`), nil, exportcheck.Incomplete, 0, "no subtrees"},
		{"an anchor in the middle", slices.Insert(slices.Clone(lines), 4, l.part(5, 9)[0]), nil, exportcheck.Tampered, 5, "anchor"},
		{"a part with another part's proof", append(l.part(2, 5)[:5], l.part(2, 6)[6]), nil, exportcheck.Tampered, 1, "not the beginning of the log that was signed"},
		{"a part that ends before an older checkpoint", l.part(2, 5), []string{l.checkpoint(7)}, exportcheck.Incomplete, 0, "can't be held against"},
		{"a part that begins after an older checkpoint", l.part(5, 9), []string{l.checkpoint(2), l.checkpoint(6)}, exportcheck.Incomplete, 0, "of 2 events can't be held against"},
		{"an older checkpoint of the same size with another root", l.export(), []string{l.signed(eventstore.Checkpoint{Origin: "test/acme/1", Size: events})}, exportcheck.Tampered, 1, "a fork"},
	}
}

func TestCrimes(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 9)
	for _, crime := range crimes(t, l) {
		t.Run(crime.name, func(t *testing.T) {
			t.Parallel()
			report := verify(t, l, crime.lines, crime.since...)
			expect(t, report, crime.verdict, crime.position, crime.words)
			if strings.Contains(crime.words, "a fork") && len(report.Notes) != 2 {
				t.Errorf("a fork has two notes, not %d", len(report.Notes))
			}
		})
	}
}

func TestUnusableKeysAndCheckpoints(t *testing.T) {
	t.Parallel()
	l, other := newLog(t, "acme", 3), newLog(t, "globex", 3)
	for name, options := range map[string]exportcheck.Options{
		"no key":                 {},
		"no key at all":          {Keys: []string{"x"}},
		"an older one unsigned":  {Keys: []string{l.key}, Since: []string{"x"}},
		"an older one foreign":   {Keys: []string{l.key}, Since: []string{other.checkpoint(2)}},
		"an older one of others": {Keys: []string{l.key, other.key}, Since: []string{other.checkpoint(2)}},
	} {
		if _, err := exportcheck.Verify(file(l.export()), options); !errors.Is(err, exportcheck.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	report, err := exportcheck.Verify(file(l.export()), exportcheck.Options{Keys: []string{other.key, l.key, l.key}})
	if err != nil || report.Verdict != exportcheck.Sound {
		t.Errorf("several keys: %+v, %v", report, err)
	}
}

// A key that signs a checkpoint of another name is not that log's key.
func TestANoteIsSignedUnderItsOwnName(t *testing.T) {
	t.Parallel()
	l, other := newLog(t, "acme", 3), newLog(t, "globex", 3)
	root, err := tlog.TreeHash(3, l.hashReader())
	if err != nil {
		t.Fatal(err)
	}
	body := (&eventstore.Checkpoint{Origin: l.signer.Name(), Size: 3, Root: root}).Body()
	signed, err := note.Sign(&note.Note{Text: body}, other.signer)
	if err != nil {
		t.Fatal(err)
	}
	report, err := exportcheck.Verify(file(append(l.lines(1, 3), l.seal(string(signed)))), exportcheck.Options{Keys: []string{other.key}})
	if err != nil || report.Verdict != exportcheck.Tampered {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 0)
	l.events = make([]eventstore.Recorded, 0, 20_001)
	for range 20_001 {
		l.events = append(l.events, eventstore.Recorded{
			Tenant: "acme", Stream: "s", Type: "t.v1", Position: int64(len(l.events) + 1), Version: int64(len(l.events) + 1),
		})
		l.rehash(len(l.events) - 1)
	}
	var told []int64
	report, err := exportcheck.Verify(file(l.export()), exportcheck.Options{Keys: []string{l.key}, Progress: func(n int64) { told = append(told, n) }})
	if err != nil || report.Verdict != exportcheck.Sound || !slices.Equal(told, []int64{10_000, 20_000}) {
		t.Errorf("%+v, %v, %v", report, told, err)
	}
}
