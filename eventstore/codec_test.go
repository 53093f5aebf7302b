package eventstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/archonhq/archon/eventstore"
)

// opened is the current form of an event that has had two older ones.
type opened struct {
	Door   string   `json:"door"`
	People []string `json:"people"`
}

func (opened) EventType() string { return "door.opened.v3" }

type closed struct{}

func (closed) EventType() string { return "door.closed.v1" }

var errBroken = errors.New("it does not fit")

// firstToSecond gave the door its name: {"id"} became {"door"}.
func firstToSecond(data []byte) ([]byte, error) {
	var old struct {
		ID *string `json:"id"`
	}
	if err := json.Unmarshal(data, &old); err != nil || old.ID == nil {
		return nil, errBroken
	}
	return fmt.Appendf(nil, `{"door":%q}`, *old.ID), nil
}

// secondToThird made one person a list.
func secondToThird(data []byte) ([]byte, error) {
	return []byte(strings.Replace(string(data), `}`, `,"people":["somebody"]}`, 1)), nil
}

func doors(t *testing.T) *eventstore.Codec {
	t.Helper()
	codec, err := eventstore.NewCodec(
		eventstore.Upcast("door.opened.v1", "door.opened.v2", firstToSecond),
		eventstore.Upcast("door.opened.v2", "door.opened.v3", secondToThird),
		eventstore.Define[opened](), eventstore.Define[closed](),
	)
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func TestCodecDecodes(t *testing.T) {
	t.Parallel()
	codec := doors(t)
	for name, test := range map[string]struct{ eventType, data, want string }{
		"the current form":      {"door.opened.v3", `{"door":"d","people":["a","b"]}`, "{d [a b]}"},
		"one step back":         {"door.opened.v2", `{"door":"d"}`, "{d [somebody]}"},
		"two steps back":        {"door.opened.v1", `{"id":"d"}`, "{d [somebody]}"},
		"fields added later":    {"door.opened.v3", `{"door":"d","colour":"red"}`, "{d []}"},
		"a type without data":   {"door.closed.v1", `{}`, "{}"},
		"data with white space": {"door.opened.v3", "{ \"door\" :\n\"d\" }", "{d []}"},
	} {
		got, err := codec.Decode(test.eventType, []byte(test.data))
		if err != nil || fmt.Sprint(got) != test.want {
			t.Errorf("%s: got %v, %v; want %s", name, got, err, test.want)
		}
	}
}

func TestCodecRefusesToDecode(t *testing.T) {
	t.Parallel()
	codec := doors(t)
	if _, err := codec.Decode("door.opened.v4", []byte("{}")); !errors.Is(err, eventstore.ErrUnknownType) || !strings.Contains(err.Error(), "door.opened.v4") {
		t.Errorf("a newer type: %v", err)
	}
	if codec.Knows("door.opened.v4") || !codec.Knows("door.opened.v1") || !codec.Knows("door.opened.v3") {
		t.Error("it does not know what it knows")
	}
	if _, err := codec.Decode("door.opened.v1", []byte("[]")); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "door.opened.v1 to door.opened.v2") {
		t.Errorf("an upcast that fails: %v", err)
	}
	for _, data := range []string{"", "{", `{"door":1}`, "null null"} {
		if _, err := codec.Decode("door.opened.v3", []byte(data)); err == nil || !strings.Contains(err.Error(), "door.opened.v3") {
			t.Errorf("data %q: %v", data, err)
		}
	}
}

func TestCodecDoesNotChangeStoredBytes(t *testing.T) {
	t.Parallel()
	stored := []byte(`{"id":"d"}`)
	if _, err := doors(t).Decode("door.opened.v1", stored); err != nil || string(stored) != `{"id":"d"}` {
		t.Errorf("stored bytes are %s now, %v", stored, err)
	}
}

func TestNewCodecRefusesFaultyWiring(t *testing.T) {
	t.Parallel()
	same := func(data []byte) ([]byte, error) { return data, nil }
	up := func(from, to string) eventstore.Definition { return eventstore.Upcast(from, to, same) }
	for name, test := range map[string]struct {
		definitions []eventstore.Definition
		says        string
	}{
		"a type twice":               {[]eventstore.Definition{eventstore.Define[closed](), eventstore.Define[closed]()}, "door.closed.v1 is defined twice"},
		"a type and an upcast of it": {[]eventstore.Definition{eventstore.Define[closed](), up("door.closed.v1", "door.closed.v1")}, "defined twice"},
		"an upcast to nowhere":       {[]eventstore.Definition{up("a.v1", "a.v2")}, "the upcast of a.v1 to a.v2 leads to no type"},
		"an upcast to itself":        {[]eventstore.Definition{up("a.v1", "a.v1")}, "leads to no type"},
		"a circle":                   {[]eventstore.Definition{up("a.v1", "a.v2"), up("a.v2", "a.v3"), up("a.v3", "a.v1")}, "leads to no type"},
		"a way into a circle":        {[]eventstore.Definition{up("a.v0", "a.v1"), up("a.v1", "a.v2"), up("a.v2", "a.v1")}, "leads to no type"},
	} {
		if _, err := eventstore.NewCodec(test.definitions...); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := eventstore.NewCodec(); err != nil {
		t.Errorf("no types at all: %v", err)
	}
}

// unstorable can't become JSON.
type unstorable struct{ C chan int }

func (unstorable) EventType() string { return "door.stuck.v1" }

func TestCodecEncodes(t *testing.T) {
	t.Parallel()
	codec := doors(t)
	event, err := codec.Encode("door-1", opened{Door: "d", People: []string{"a"}})
	if err != nil || event.Stream != "door-1" || event.Type != "door.opened.v3" || string(event.Data) != `{"door":"d","people":["a"]}` {
		t.Errorf("got %+v, %v", event, err)
	}
	if _, err := codec.Encode("door-1", unstorable{}); !errors.Is(err, eventstore.ErrUnknownType) {
		t.Errorf("a type that nobody could read again: %v", err)
	}
	stuck, err := eventstore.NewCodec(eventstore.Define[unstorable]())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.Encode("door-1", unstorable{}); err == nil || !strings.Contains(err.Error(), "encode door.stuck.v1") {
		t.Errorf("a payload that can't be encoded: %v", err)
	}
}

// Old events are read in their newest form; what is stored never changes.
func ExampleUpcast() {
	codec, err := eventstore.NewCodec(
		eventstore.Upcast("door.opened.v2", "door.opened.v3", func(data []byte) ([]byte, error) {
			return []byte(strings.Replace(string(data), `}`, `,"people":["somebody"]}`, 1)), nil
		}),
		eventstore.Define[opened](),
	)
	if err != nil {
		panic(err)
	}
	event, err := codec.Decode("door.opened.v2", []byte(`{"door":"front"}`))
	fmt.Printf("%T %+v %v\n", event, event, err)
	_, err = codec.Decode("door.opened.v4", nil)
	fmt.Println(err)
	// Output:
	// eventstore_test.opened {Door:front People:[somebody]} <nil>
	// unknown event type: door.opened.v4
}

func TestDecoderDecodesAsItsCodecDoes(t *testing.T) {
	t.Parallel()
	codec := doors(t)
	decoder := codec.Decoder()
	for _, test := range []struct{ eventType, data string }{
		{"door.opened.v3", `{"door":"d","people":["a","b"]}`},
		{"door.opened.v3", `{}`}, // nothing of the one before is left
		{"door.opened.v1", `{"id":"e"}`},
		{"door.opened.v1", `{"door":"e"}`},
		{"door.closed.v1", `{}`},
		{"door.opened.v3", `{"door":7}`},
		{"door.burnt.v1", `{}`},
	} {
		want, wantErr := codec.Decode(test.eventType, []byte(test.data))
		got, err := decoder.Decode(test.eventType, []byte(test.data))
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%s %s: %v, the codec says %v", test.eventType, test.data, err, wantErr)
		}
		if err == nil && fmt.Sprint(reflect.ValueOf(got).Elem()) != fmt.Sprint(want) {
			t.Errorf("%s %s: %v, the codec says %v", test.eventType, test.data, got, want)
		}
	}
}

// kept keeps its memory when it is reset.
type kept struct {
	Rooms  []string `json:"rooms"`
	resets int
}

func (kept) EventType() string { return "door.kept.v1" }

func (k *kept) Reset() { k.Rooms, k.resets = k.Rooms[:0], k.resets+1 }

func TestDecoderResetsWhatKnowsHow(t *testing.T) {
	t.Parallel()
	codec, err := eventstore.NewCodec(eventstore.Define[kept]())
	if err != nil {
		t.Fatal(err)
	}
	decoder := codec.Decoder()
	for i, data := range []string{`{"rooms":["a","b"]}`, `{}`, `{"rooms":["c"]}`} {
		got, err := decoder.Decode("door.kept.v1", []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"[a b]", "[]", "[c]"}[i]
		if one := got.(*kept); fmt.Sprint(one.Rooms) != want || one.resets != i+1 {
			t.Errorf("%s: %v after %d resets", data, one.Rooms, one.resets)
		}
	}
}
