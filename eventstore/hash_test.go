package eventstore_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"github.com/archonhq/archon/eventstore"
)

func sample() eventstore.Recorded {
	return eventstore.Recorded{
		Tenant: "acme", Stream: "provider-1", Type: "provider.registered.v1", Position: 3, Version: 2,
		EventID: uuid.UUID{1, 2, 3}, CommandID: uuid.UUID{4, 5, 6}, OccurredAt: 1_738_555_506_000_007,
		Meta: []byte("{}"), Data: []byte(`{"a":1}`), PrevHash: eventstore.Genesis("acme"),
	}
}

func TestHashReadsEveryFieldButItself(t *testing.T) {
	t.Parallel()
	original := sample()
	want := eventstore.Hash(&original)
	for name, change := range map[string]func(*eventstore.Recorded){
		"tenant":      func(e *eventstore.Recorded) { e.Tenant += "x" },
		"stream":      func(e *eventstore.Recorded) { e.Stream += "x" },
		"type":        func(e *eventstore.Recorded) { e.Type += "x" },
		"position":    func(e *eventstore.Recorded) { e.Position++ },
		"version":     func(e *eventstore.Recorded) { e.Version = -e.Version },
		"event id":    func(e *eventstore.Recorded) { e.EventID[15]++ },
		"command id":  func(e *eventstore.Recorded) { e.CommandID[0]++ },
		"occurred at": func(e *eventstore.Recorded) { e.OccurredAt++ },
		"meta":        func(e *eventstore.Recorded) { e.Meta = append([]byte{}, '{', ' ', '}') },
		"data":        func(e *eventstore.Recorded) { e.Data = nil },
		"prev hash":   func(e *eventstore.Recorded) { e.PrevHash = append([]byte{1}, e.PrevHash[1:]...) },
	} {
		changed := sample()
		change(&changed)
		if eventstore.Hash(&changed) == want {
			t.Errorf("the hash does not depend on %s", name)
		}
	}
	signed := sample()
	signed.Hash = []byte("whatever")
	if eventstore.Hash(&signed) != want {
		t.Error("the hash depends on itself")
	}
}

func TestHashTakesNilAndEmptyForTheSame(t *testing.T) {
	t.Parallel()
	none, empty := sample(), sample()
	none.Meta, none.Data, empty.Meta, empty.Data = nil, nil, []byte{}, []byte{}
	if eventstore.Hash(&none) != eventstore.Hash(&empty) {
		t.Error("the database can't tell them apart, so the hash must not")
	}
}

// FuzzHashIsInjective cuts one text into the fields of two events at two sets of places: unless all fields are the same, what is
// hashed must differ. Integers stand between the fields and are made of the same text.
func FuzzHashIsInjective(f *testing.F) {
	f.Add([]byte("acmeprovider-1provider.registered.v1{}{}"), uint64(0x0102030405), uint64(0x0102030406))
	f.Add(bytes.Repeat([]byte{0}, 100), uint64(1), uint64(2))
	f.Add([]byte("\x00\x00\x00\x01a\x00\x00\x00\x01b\x00\x00\x00\x00"), uint64(0x0501), uint64(0x0a06))
	f.Fuzz(func(t *testing.T, text []byte, cutsA, cutsB uint64) {
		a, b := cutUp(text, cutsA), cutUp(text, cutsB)
		same := a.Tenant == b.Tenant && a.Stream == b.Stream && a.Type == b.Type && a.Position == b.Position && a.Version == b.Version &&
			a.OccurredAt == b.OccurredAt && bytes.Equal(a.Meta, b.Meta) && bytes.Equal(a.Data, b.Data) && bytes.Equal(a.PrevHash, b.PrevHash)
		if hashed := bytes.Equal(eventstore.Preimage(&a), eventstore.Preimage(&b)); hashed != same {
			t.Errorf("hashed alike: %v, the same: %v\n%+v\n%+v", hashed, same, a, b)
		}
	})
}

// cutUp makes an event of text; each byte of cuts is the length of a field.
func cutUp(text []byte, cuts uint64) eventstore.Recorded {
	next := func() []byte {
		n := min(int(cuts&0x1f), len(text))
		cuts >>= 8
		field := text[:n]
		text = text[n:]
		return field
	}
	number := func() (n int64) {
		for _, b := range next() {
			n = n<<8 | int64(b)
		}
		return n
	}
	return eventstore.Recorded{
		Tenant: string(next()), Stream: string(next()), Type: string(next()), Meta: next(), Data: next(),
		Position: number(), Version: number(), OccurredAt: number(), PrevHash: text,
	}
}

func BenchmarkHash(b *testing.B) {
	event := sample()
	event.Data, event.Meta = make([]byte, 420), make([]byte, 110)
	b.ReportAllocs()
	for b.Loop() {
		event.Position++
		eventstore.Hash(&event)
	}
}

func ExampleGenesis() {
	fmt.Println(hex.EncodeToString(eventstore.Genesis("acme")))
	// Output: 94715f78250f1246adb96409e3ed35c83a0ea6a9b0de4cf8f48c6c135b623c8a
}

// A chain is checked by hashing each event again and comparing its link.
func ExampleHash() {
	prev := eventstore.Genesis("acme")
	var chain []eventstore.Recorded
	for position := range int64(3) {
		event := eventstore.Recorded{
			Tenant: "acme", Stream: "door-1", Type: "door.opened.v1", Position: position + 1, Version: position + 1, PrevHash: prev,
		}
		sum := eventstore.Hash(&event)
		event.Hash = sum[:]
		prev = event.Hash
		chain = append(chain, event)
	}
	chain[1].Type = "door.closed.v1" // somebody tampers

	prev = eventstore.Genesis("acme")
	for i := range chain {
		sum := eventstore.Hash(&chain[i])
		fmt.Println(chain[i].Position, bytes.Equal(sum[:], chain[i].Hash) && bytes.Equal(chain[i].PrevHash, prev))
		prev = chain[i].Hash
	}
	// Output:
	// 1 true
	// 2 false
	// 3 true
}
