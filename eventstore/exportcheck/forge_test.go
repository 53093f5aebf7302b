package exportcheck_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/archonhq/archon/eventstore"
)

// log is a log as somebody has it who can do everything with it, the right thing too.
type log struct {
	tb     testing.TB
	tenant string
	signer note.Signer
	key    string
	events []eventstore.Recorded
}

func newLog(tb testing.TB, tenant string, events int) *log {
	tb.Helper()
	l := &log{tb: tb, tenant: tenant}
	l.signer, l.key = l.newKey(tenant)
	for i := range events {
		l.add(fmt.Sprintf("thing-%d", i%3), fmt.Sprintf(`{"n":%d,"text":"ü \"quoted\" \\ <&> %c"}`, i, 0x2028))
	}
	return l
}

func (l *log) newKey(tenant string) (note.Signer, string) {
	l.tb.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, eventstore.Origin("test", tenant, 1))
	if err != nil {
		l.tb.Fatal(err)
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		l.tb.Fatal(err)
	}
	return signer, vkey
}

func (l *log) add(stream, data string) {
	version := int64(1)
	for i := range l.events {
		if l.events[i].Stream == stream {
			version++
		}
	}
	n := len(l.events)
	l.events = append(l.events, eventstore.Recorded{
		Tenant: l.tenant, Stream: stream, Type: "test.happened.v1", Position: int64(n + 1), Version: version, EventID: uuid.Must(uuid.NewV7()),
		OccurredAt: 1_738_555_506_000_000 + int64(n), CommandID: uuid.Must(uuid.NewV7()), Meta: []byte(`{"actor":{"id":"u-1"}}`), Data: []byte(data),
	})
	l.rehash(n)
}

// rehash makes links and hashes right from an index on.
func (l *log) rehash(from int) {
	for i := from; i < len(l.events); i++ {
		prev := eventstore.Genesis(l.tenant)
		if i > 0 {
			prev = l.events[i-1].Hash
		}
		l.events[i].PrevHash = prev
		sum := eventstore.Hash(&l.events[i])
		l.events[i].Hash = sum[:]
	}
}

// copied is a log that can be changed without changing this one.
func (l *log) copied() *log {
	c := *l
	c.events = append([]eventstore.Recorded(nil), l.events...)
	return &c
}

// hashReader computes the stored hashes of the tree over the events.
func (l *log) hashReader() tlog.HashReader {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for i := range l.events {
		hashes, err := tlog.StoredHashes(int64(i), l.events[i].Hash, reader)
		if err != nil {
			l.tb.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	return reader
}

// checkpoint signs the tree over the first size events.
func (l *log) checkpoint(size int) string {
	l.tb.Helper()
	root, err := tlog.TreeHash(int64(size), l.hashReader())
	if err != nil {
		l.tb.Fatal(err)
	}
	return l.signed(eventstore.Checkpoint{Origin: l.signer.Name(), Size: int64(size), Root: root})
}

func (l *log) signed(checkpoint eventstore.Checkpoint) string {
	l.tb.Helper()
	signed, err := note.Sign(&note.Note{Text: checkpoint.Body()}, l.signer)
	if err != nil {
		l.tb.Fatal(err)
	}
	return string(signed)
}

// lines are the events' lines of an export.
func (l *log) lines(from, to int) []string {
	l.tb.Helper()
	var lines []string
	for i := from - 1; i < to; i++ {
		text, err := l.events[i].ExportLine()
		if err != nil {
			l.tb.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	return lines
}

func (l *log) encode(value any) string {
	l.tb.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		l.tb.Fatal(err)
	}
	return string(text)
}

func (l *log) seal(signed string) string { return l.encode(map[string]any{"checkpoint": signed}) }

// export is all of it.
func (l *log) export() []string {
	l.tb.Helper()
	return append(l.lines(1, len(l.events)), l.seal(l.checkpoint(len(l.events))))
}

// part is the export of a range, against the checkpoint of all of it.
func (l *log) part(from, to int) []string {
	l.tb.Helper()
	reader := l.hashReader()
	var lines []string
	if from > 1 {
		var subtrees []string
		begin := int64(0)
		for level := 62; level >= 0; level-- {
			if width := int64(1) << level; int64(from-1)&width != 0 {
				hashes, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(level, begin>>level)})
				if err != nil {
					l.tb.Fatal(err)
				}
				subtrees = append(subtrees, hex.EncodeToString(hashes[0][:]))
				begin += width
			}
		}
		lines = append(lines, l.encode(map[string]any{"anchor": map[string]any{
			"position": from - 1, "hash": hex.EncodeToString(l.events[from-2].Hash), "subtrees": subtrees,
		}}))
	}
	lines = append(lines, l.lines(from, to)...)
	seal := map[string]any{"checkpoint": l.checkpoint(len(l.events))}
	if to < len(l.events) {
		proof, err := tlog.ProveTree(int64(len(l.events)), int64(to), reader)
		if err != nil {
			l.tb.Fatal(err)
		}
		texts := []string{}
		for _, hash := range proof {
			texts = append(texts, hex.EncodeToString(hash[:]))
		}
		seal["consistency"] = texts
	}
	return append(lines, l.encode(seal))
}

// file is lines as they stand in a file.
func file(lines []string) *bytes.Reader {
	return bytes.NewReader([]byte(strings.Join(lines, "\n") + "\n"))
}
