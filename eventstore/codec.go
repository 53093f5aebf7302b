package eventstore

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrUnknownType says that this program does not know an event's type: a newer node wrote it. Whoever reads in order must
// stop there, never skip.
var ErrUnknownType = errors.New("unknown event type")

// Typed is an event's payload: a struct whose stored name is a constant, "<context>.<fact>.v<n>".
type Typed interface {
	EventType() string
}

// Definition tells how one stored type becomes a value.
type Definition struct {
	typ    string
	decode func(data []byte) (Typed, error)
	reused func() *reused
	upcast func(data []byte) ([]byte, error)
	to     string
}

// Define makes the definition of a type that is stored as the JSON of E. The name comes from E's zero value. Where *E is a
// json.Unmarshaler it is given the bytes as they are and has to find out itself whether they are JSON.
func Define[E Typed]() Definition {
	var zero E
	decode := func(event *E, data []byte) error {
		decode := func(data []byte) error { return json.Unmarshal(data, event) }
		if itself, ok := any(event).(json.Unmarshaler); ok {
			decode = itself.UnmarshalJSON
		}
		if err := decode(data); err != nil {
			return fmt.Errorf("decode %s: %w", zero.EventType(), err)
		}
		return nil
	}
	return Definition{
		typ: zero.EventType(),
		decode: func(data []byte) (Typed, error) {
			var event E
			if err := decode(&event, data); err != nil {
				return nil, err
			}
			return event, nil
		},
		reused: func() *reused {
			event := new(E)
			reset := func() { *event = zero }
			if itself, ok := any(event).(interface{ Reset() }); ok {
				reset = itself.Reset
			}
			return &reused{value: any(event).(Typed), decode: func(data []byte) error { //nolint:errcheck,forcetypeassert // a pointer has its value's methods
				reset()
				return decode(event, data)
			}}
		},
	}
}

// Upcast makes the definition of an old type that is read as a newer one: change turns the stored bytes of from into
// those of to, which needs a definition itself (upcasts may chain). Stored bytes are never rewritten.
func Upcast(from, to string, change func(data []byte) ([]byte, error)) Definition {
	return Definition{typ: from, upcast: change, to: to}
}

// Codec turns payloads into stored bytes and back. It is made once, is immutable, and safe for concurrent use.
type Codec struct {
	definitions map[string]Definition
}

// NewCodec makes a codec of definitions. It fails where a type is defined twice, or an upcast leads nowhere or in a
// circle: faults of wiring, found at start and not at the first event.
func NewCodec(definitions ...Definition) (*Codec, error) {
	c := &Codec{definitions: make(map[string]Definition, len(definitions))}
	for _, d := range definitions {
		if _, twice := c.definitions[d.typ]; twice {
			return nil, fmt.Errorf("event type %s is defined twice", d.typ)
		}
		c.definitions[d.typ] = d
	}
	for _, d := range definitions {
		for steps := 0; d.upcast != nil; steps++ {
			next, found := c.definitions[d.to]
			if !found || steps > len(definitions) {
				return nil, fmt.Errorf("the upcast of %s to %s leads to no type that can be read", d.typ, d.to)
			}
			d = next
		}
	}
	return c, nil
}

// Knows tells whether events of the type can be decoded.
func (c *Codec) Knows(eventType string) bool {
	_, found := c.definitions[eventType]
	return found
}

// Decode turns stored bytes into the payload's current form. It fails with ErrUnknownType for a type that is not defined.
func (c *Codec) Decode(eventType string, data []byte) (Typed, error) {
	definition, data, err := c.current(eventType, data)
	if err != nil {
		return nil, err
	}
	return definition.decode(data)
}

// current finds the definition of the form that a type has now, and brings data to that form.
func (c *Codec) current(eventType string, data []byte) (Definition, []byte, error) {
	definition, found := c.definitions[eventType]
	if !found {
		return Definition{}, nil, fmt.Errorf("%w: %s", ErrUnknownType, eventType)
	}
	for definition.upcast != nil {
		changed, err := definition.upcast(data)
		if err != nil {
			return Definition{}, nil, fmt.Errorf("upcast %s to %s: %w", definition.typ, definition.to, err)
		}
		data, definition = changed, c.definitions[definition.to]
	}
	return definition, data, nil
}

// Decoder decodes as its Codec does, but into one value a type, for who reads many events and keeps none. It is not safe
// for concurrent use.
type Decoder struct {
	codec  *Codec
	values map[string]*reused
}

// reused is the one value of a type.
type reused struct {
	value  Typed
	decode func(data []byte) error
}

// Decoder makes a Decoder.
func (c *Codec) Decoder() *Decoder { return &Decoder{codec: c, values: map[string]*reused{}} }

// Decode turns stored bytes into the payload's current form: a pointer, other than Codec.Decode's, to a value that the
// next call may overwrite. What the value points to itself is not reused, unless its type has a method Reset, which then
// makes it the zero value in the place of an assignment. It fails as Codec.Decode does.
func (d *Decoder) Decode(eventType string, data []byte) (Typed, error) {
	definition, data, err := d.codec.current(eventType, data)
	if err != nil {
		return nil, err
	}
	into, found := d.values[definition.typ]
	if !found {
		into = definition.reused()
		d.values[definition.typ] = into
	}
	if err := into.decode(data); err != nil {
		return nil, err
	}
	return into.value, nil
}

// Encode turns a payload into the event to append to stream. The type must be one that this codec can decode again.
func (c *Codec) Encode(stream string, payload Typed) (NewEvent, error) {
	eventType := payload.EventType()
	if !c.Knows(eventType) {
		return NewEvent{}, fmt.Errorf("%w: %s", ErrUnknownType, eventType)
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return NewEvent{}, fmt.Errorf("encode %s: %w", eventType, err)
	}
	return NewEvent{Stream: stream, Type: eventType, Data: data}, nil
}
