package eventstore

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errCopyFormat says that the server's binary COPY is not in PostgreSQL's documented format.
var errCopyFormat = errors.New("malformed binary COPY")

// copySignature opens a binary COPY; flags and the length of a header extension follow, four bytes each.
const copySignature = "PGCOPY\n\xff\r\n\x00"

const (
	copyHeaderSize = len(copySignature) + 8
	// copyTrailer stands in place of a row's number of fields after the last row.
	copyTrailer = -1
	// copyNull stands in place of a field's length.
	copyNull  = -1
	int16Size = 2
	int32Size = 4
	int64Size = 8
)

// copyRows cuts a binary COPY into rows as it arrives. It keeps no more than the row that is not complete yet.
type copyRows struct {
	// row is called for each row; a field is nil where it is NULL. The fields are only valid during the call.
	row func(fields [][]byte) error

	started, ended bool
	rest           []byte
	fields         [][]byte
}

// Write takes the next piece of the stream, which may end anywhere.
func (c *copyRows) Write(piece []byte) (int, error) {
	data := piece
	if len(c.rest) > 0 {
		c.rest = append(c.rest, piece...)
		data = c.rest
	}
	used := 0
	for {
		n, err := c.next(data[used:])
		if err != nil {
			return 0, err
		}
		if n == 0 {
			break
		}
		used += n
	}
	c.rest = append(c.rest[:0], data[used:]...) // the regions may overlap; append copies like memmove
	return len(piece), nil
}

// finish tells whether the stream was whole.
func (c *copyRows) finish() error {
	if !c.ended || len(c.rest) > 0 {
		return fmt.Errorf("%w: it ends in the middle", errCopyFormat)
	}
	return nil
}

// next handles the header, one row or the trailer at the start of data and returns its length, 0 where it is incomplete.
func (c *copyRows) next(data []byte) (int, error) {
	if !c.started {
		return c.header(data)
	}
	if len(data) < int16Size {
		return 0, nil
	}
	count := int(int16(binary.BigEndian.Uint16(data))) //nolint:gosec // the format's -1
	if c.ended || count < copyTrailer {
		return 0, fmt.Errorf("%w: %d fields", errCopyFormat, count)
	}
	if count == copyTrailer {
		c.ended = true
		return int16Size, nil
	}
	at := int16Size
	c.fields = c.fields[:0]
	for range count {
		if len(data) < at+int32Size {
			return 0, nil
		}
		size := int(int32(binary.BigEndian.Uint32(data[at:]))) //nolint:gosec // the format's -1
		at += int32Size
		if size == copyNull {
			c.fields = append(c.fields, nil)
			continue
		}
		if size < copyNull {
			return 0, fmt.Errorf("%w: a field of %d bytes", errCopyFormat, size)
		}
		if len(data) < at+size {
			return 0, nil
		}
		c.fields = append(c.fields, data[at:at+size:at+size])
		at += size
	}
	return at, c.row(c.fields)
}

func (c *copyRows) header(data []byte) (int, error) {
	if len(data) < copyHeaderSize {
		return 0, nil
	}
	if string(data[:len(copySignature)]) != copySignature {
		return 0, fmt.Errorf("%w: no signature", errCopyFormat)
	}
	extension := binary.BigEndian.Uint32(data[copyHeaderSize-int32Size:])
	if extension != 0 {
		return 0, fmt.Errorf("%w: a header extension of %d bytes", errCopyFormat, extension)
	}
	c.started = true
	return copyHeaderSize, nil
}
