package eventstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
)

// copied is a binary COPY of rows; nil is NULL.
func copied(rows ...[][]byte) []byte {
	out := append([]byte(copySignature), make([]byte, 8)...)
	for _, row := range rows {
		out = binary.BigEndian.AppendUint16(out, uint16(len(row)))
		for _, field := range row {
			if field == nil {
				out = binary.BigEndian.AppendUint32(out, 0xffffffff)
				continue
			}
			out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
			out = append(out, field...)
		}
	}
	return append(out, 0xff, 0xff)
}

// readCopy feeds pieces to a reader and returns the rows as text.
func readCopy(pieces ...[]byte) (string, error) {
	var got bytes.Buffer
	rows := &copyRows{row: func(fields [][]byte) error {
		for _, field := range fields {
			if field == nil {
				got.WriteString("null,")
				continue
			}
			fmt.Fprintf(&got, "%q,", field)
		}
		got.WriteByte(';')
		return nil
	}}
	for _, piece := range pieces {
		if n, err := rows.Write(piece); err != nil || n != len(piece) {
			return got.String(), err
		}
	}
	return got.String(), rows.finish()
}

func TestCopyRowsComeInPiecesOfAnySize(t *testing.T) {
	t.Parallel()
	stream := copied([][]byte{[]byte("one"), nil, {}}, [][]byte{}, [][]byte{bytes.Repeat([]byte("x"), 40)})
	want := `"one",null,"",;;"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",;`
	for size := 1; size <= len(stream); size++ {
		var pieces [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			pieces = append(pieces, append([]byte(nil), rest[:n]...))
			rest = rest[n:]
		}
		if got, err := readCopy(pieces...); err != nil || got != want {
			t.Errorf("in pieces of %d: %s, %v", size, got, err)
		}
	}
}

func TestCopyRowsRefusesWhatIsNoCopy(t *testing.T) {
	t.Parallel()
	good := copied([][]byte{[]byte("one")})
	change := func(at int, b byte) []byte {
		changed := append([]byte(nil), good...)
		changed[at] = b
		return changed
	}
	for name, stream := range map[string][]byte{
		"nothing":                     {},
		"half a header":               good[:10],
		"no trailer":                  good[:len(good)-2],
		"half a row":                  good[:len(good)-4],
		"another signature":           change(0, 'X'),
		"a header extension":          change(18, 1),
		"a number of fields below -1": change(19, 0x80),
		"a length below -1":           change(21, 0x80),
		"something after the end":     append(append([]byte(nil), good...), 0, 0),
		"a byte after the end":        append(append([]byte(nil), good...), 0),
	} {
		if _, err := readCopy(stream); !errors.Is(err, errCopyFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzCopyRows(f *testing.F) {
	f.Add(copied([][]byte{[]byte("one"), nil}, [][]byte{{}}), uint(7))
	f.Add(copied(), uint(1))
	f.Fuzz(func(t *testing.T, stream []byte, at uint) {
		whole, errWhole := readCopy(stream)
		cut := int(at % uint(len(stream)+1))
		halves, errHalves := readCopy(stream[:cut], stream[cut:])
		if whole != halves || (errWhole == nil) != (errHalves == nil) {
			t.Errorf("at once: %s, %v; cut at %d: %s, %v", whole, errWhole, cut, halves, errHalves)
		}
	})
}

func TestCheckerRefusesRowsOfOtherShapes(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string][][]byte{
		"too few columns":  make([][]byte, fieldCount-1),
		"a short position": {fieldPosition: {1}, fieldHash: nil},
		"a short id":       {fieldEventID: {1}, fieldHash: nil},
	} {
		c := newChecker("t", chainHead{}, VerifyOptions{})
		if err := c.row(fields); !errors.Is(err, errCopyFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
