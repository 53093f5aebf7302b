package dialect

import (
	"bytes"
	"errors"
	"io"
)

// firstBufferBytes holds nearly all events; larger ones make the buffer grow, up to maxEventBytes.
const firstBufferBytes = 8 << 10

var errEventTooLarge = errors.New("an event is too large")

// splitter cuts a stream's bytes into events, in whatever pieces the bytes arrive. An event is mostly handed out where it
// lies in the buffer.
type splitter struct {
	source  io.Reader
	framing framing
	buffer  []byte // unread bytes are buffer[start:]
	start   int    // of the event under way
	scanned int    // where the next line begins
	skipLF  bool   // the last line ended in CR, and a LF may belong to it
	begun   bool
	ended   error // what the source said last

	// Of the event under way: where its data lies, or, if it came in several lines, those joined.
	dataStart, dataEnd int
	hasData            bool
	joined             []byte
	isJoined           bool
	name               string
}

// next returns the next event, valid until the next call. unfinished says that the bytes ended before the event did. At
// the end it returns io.EOF, or the source's error.
func (s *splitter) next() (name string, data []byte, unfinished bool, err error) {
	s.reset()

	for {
		line, lineStart, terminated, err := s.line()

		switch {
		case err != nil && s.hasData && errors.Is(err, io.EOF):
			return s.name, s.data(), true, nil
		case err != nil:
			return "", nil, false, err
		case s.framing == jsonLines:
			if len(bytes.TrimSpace(line)) > 0 {
				return "", line, !terminated, nil
			}

			s.reset()
		case len(line) == 0 && s.hasData:
			return s.name, s.data(), false, nil
		case len(line) == 0:
			s.reset()
		default:
			s.field(line, lineStart)

			if !terminated && s.hasData {
				return s.name, s.data(), true, nil
			}
		}
	}
}

func (s *splitter) reset() {
	s.start = s.scanned
	s.hasData, s.isJoined, s.name = false, false, ""
}

func (s *splitter) data() []byte {
	if s.isJoined {
		return s.joined
	}

	return s.buffer[s.dataStart:s.dataEnd:s.dataEnd]
}

// field reads one line of an event: a name, a colon, an optional space, a value. Comments and other names are ignored.
func (s *splitter) field(line []byte, lineStart int) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))

	switch string(name) {
	case "event":
		s.name = eventName(value)
	case "data":
		if s.hasData {
			s.join(value)

			return
		}

		s.hasData = true
		s.dataEnd = lineStart + len(line)
		s.dataStart = s.dataEnd - len(value)
	}
}

func (s *splitter) join(value []byte) {
	if !s.isJoined {
		s.isJoined = true
		s.joined = append(s.joined[:0], s.buffer[s.dataStart:s.dataEnd]...)
	}

	s.joined = append(append(s.joined, '\n'), value...)
}

// eventName avoids an allocation for the names that come with every token.
func eventName(value []byte) string {
	switch string(value) {
	case "content_block_delta":
		return "content_block_delta"
	case "content-delta":
		return "content-delta"
	default:
		return string(value)
	}
}

// line returns the next line without its end, and where it starts in the buffer; it is terminated by CR, LF or both, and
// the last one perhaps by nothing.
func (s *splitter) line() (line []byte, start int, terminated bool, err error) {
	searched := s.scanned

	for {
		if s.skipLF && s.scanned < len(s.buffer) {
			s.skipLF = false

			if s.buffer[s.scanned] == '\n' {
				s.scanned++
				searched = s.scanned
			}
		}

		if end := lineEnd(s.buffer[searched:]); end >= 0 {
			start, end = s.scanned, searched+end
			s.scanned = end + 1
			s.skipLF = s.buffer[end] == '\r'

			return s.buffer[start:end], start, true, nil
		}

		searched = len(s.buffer)

		if s.ended != nil {
			break
		}

		moved, err := s.fill()
		searched -= moved

		if err != nil {
			return nil, 0, false, err
		}
	}

	if s.scanned == len(s.buffer) || !errors.Is(s.ended, io.EOF) {
		return nil, 0, false, s.ended
	}

	start, s.scanned = s.scanned, len(s.buffer)

	return s.buffer[start:], start, false, nil
}

// lineEnd is bytes.IndexAny for CR and LF, fast for long lines.
func lineEnd(data []byte) int {
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		end = len(data)
	}

	if cr := bytes.IndexByte(data[:end], '\r'); cr >= 0 {
		return cr
	}

	if end == len(data) {
		return -1
	}

	return end
}

// fill reads more, after it has made room by moving the event under way to the buffer's beginning; moved says how far.
func (s *splitter) fill() (moved int, err error) {
	if len(s.buffer) == cap(s.buffer) {
		moved = s.makeRoom()
	}

	if len(s.buffer)-s.start > maxEventBytes || len(s.joined) > maxEventBytes {
		return moved, errEventTooLarge
	}

	n, err := s.source.Read(s.buffer[len(s.buffer):min(cap(s.buffer), s.start+maxEventBytes+1)])
	s.buffer = s.buffer[:len(s.buffer)+n]
	s.ended = err

	s.skipMark()

	return moved, nil
}

func (s *splitter) makeRoom() (moved int) {
	moved = s.start

	into := s.buffer[:0]
	if held := len(s.buffer) - s.start; held > cap(s.buffer)/2 || cap(s.buffer) == 0 {
		into = make([]byte, 0, max(firstBufferBytes, 2*cap(s.buffer)))
	}

	s.buffer = append(into, s.buffer[s.start:]...)
	s.start = 0
	s.scanned -= moved
	s.dataStart -= moved
	s.dataEnd -= moved

	return moved
}

// skipMark leaves out a byte order mark, which may open a stream.
func (s *splitter) skipMark() {
	const mark = "\xef\xbb\xbf"

	s.begun = s.begun || s.scanned > 0
	if s.begun || len(s.buffer) < len(mark) {
		return
	}

	s.begun = true

	if bytes.HasPrefix(s.buffer, []byte(mark)) {
		s.start, s.scanned = len(mark), len(mark)
	}
}
