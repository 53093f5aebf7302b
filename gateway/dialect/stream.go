package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// maxHeldChunks bounds what is held back of a stream until something of the answer comes.
const maxHeldChunks = 16

// Stream is an answer that comes piece by piece. One goroutine reads it.
type Stream struct {
	call    *call
	decoder streamDecoder
	split   splitter
	chat    *Chat

	held    [][]byte // chunks without content that came before the first with some, copied
	pending [][]byte // chunks of the last event that are still to be returned
	ended   bool     // the provider has said all
	failure *Failure // how it ended badly

	heading   heading
	delivered bool   // some of the answer has been, or will be, passed on
	finish    string // the last finish reason
	content   int    // bytes of the answer
	reported  []byte // a usage chunk that the provider made
	counted   bool   // the usage chunk was returned, or is not wanted
}

func newStream(call *call, decoder streamDecoder, chat *Chat) *Stream {
	return &Stream{
		call: call, decoder: decoder, chat: chat, counted: !chat.IncludeUsage,
		split: splitter{source: call, framing: decoder.framing()},
	}
}

// begin reads until there is something worth passing on: content, or the end. A role alone is not: what fails after it can
// still be tried elsewhere.
func (s *Stream) begin() error {
	for !s.delivered && len(s.held) < maxHeldChunks {
		chunk, err := s.read()
		if errors.Is(err, io.EOF) {
			break
		}

		if err != nil {
			return err
		}

		s.held = append(s.held, bytes.Clone(chunk))
	}

	if !s.delivered && s.finish == finishContentFilter {
		return s.fail(withheld())
	}

	if len(s.held) == 0 {
		return s.fail(&Failure{Trigger: ServerError, Code: CodeBadAnswer, Message: "the provider's answer is empty"})
	}

	s.delivered = true

	return nil
}

// Next returns the JSON of the next chunk, valid until the next call. It returns io.EOF at a good end, after which Usage
// and FinishReason are final, and else a *[Failure]: the answer is incomplete. A chunk of usage comes only where the
// client asked for one.
func (s *Stream) Next() (chunk []byte, err error) {
	if len(s.held) > 0 {
		chunk, s.held = s.held[0], s.held[1:]

		return chunk, nil
	}

	return s.read()
}

// Usage is what was counted so far, estimated where the provider has not said.
func (s *Stream) Usage() Usage {
	usage := s.decoder.usage()
	if usage.Source != Reported {
		usage.fill(s.chat.EstimatedPromptTokens(), bytesToTokens(s.content))
	}

	return usage
}

// FinishReason is OpenAI's word for why the model stopped, "" before it did.
func (s *Stream) FinishReason() string { return s.finish }

// FirstByte is the time from sending the request to the first byte of the answer.
func (s *Stream) FirstByte() time.Duration { return s.call.firstByte }

// Close ends the stream and frees its connection. Closing twice is fine.
func (s *Stream) Close() { s.call.close() }

// read returns the next chunk that is worth passing on.
func (s *Stream) read() ([]byte, error) {
	for {
		for len(s.pending) > 0 {
			data := s.pending[0]
			s.pending = s.pending[1:]

			if s.look(data) {
				return data, nil
			}
		}

		switch {
		case s.failure != nil:
			return nil, s.failure
		case s.ended && !s.counted:
			s.counted = true

			return s.usageChunk(), nil
		case s.ended:
			return nil, io.EOF
		}

		if err := s.event(); err != nil {
			return nil, err
		}
	}
}

// event takes the next event from the provider.
func (s *Stream) event() error {
	name, data, unfinished, err := s.split.next()

	switch {
	case errors.Is(err, io.EOF) || unfinished && !isWhole(data):
		return s.finished()
	case errors.Is(err, errEventTooLarge):
		return s.fail(tooLarge())
	case err != nil:
		return s.fail(s.call.judge(err, "stream_cut"))
	case len(bytes.TrimSpace(data)) == 0:
		return nil
	}

	chunks, done, err := s.decoder.event(name, data)
	if err != nil {
		return s.fail(asFailure(err).hiding(s.chat))
	}

	s.pending, s.ended = chunks, done
	s.call.complete = done

	return nil
}

// finished is what the end of the bytes amounts to.
func (s *Stream) finished() error {
	if err := s.decoder.end(); err != nil {
		return s.fail(asFailure(err).hiding(s.chat))
	}

	s.ended = true

	return nil
}

// look notes what a chunk says and tells whether to pass it on. One without choices is the usage, which waits for the end,
// or a provider's own (Azure's filter results), which clients stumble over.
func (s *Stream) look(data []byte) bool {
	chunk := readChunk(data)

	if !chunk.hasChoices {
		if chunk.usage != nil && !s.counted {
			s.reported = bytes.Clone(data)
		}

		return false
	}

	s.heading.keep(chunk, s.call.started.Unix())
	s.content += chunk.content
	s.delivered = s.delivered || chunk.content > 0

	if chunk.finish != nil {
		s.finish = textOf(chunk.finish)
		s.delivered = s.delivered || s.finish != finishContentFilter
	}

	return true
}

func (s *Stream) usageChunk() []byte {
	if s.reported != nil {
		return s.reported
	}

	return usageChunk(s.heading, usageObject(s.Usage()))
}

// fail ends the stream. What was consumed until then is known where the provider has counted; where it was given up, or
// broke off, an estimate takes its place. An error of its own, or nothing at all, is no sign that a model has worked.
func (s *Stream) fail(failure *Failure) *Failure {
	s.failure = failure

	gaveUp := failure.Trigger == Timeout || failure.Trigger == Cancelled || failure.Trigger == ContentPolicy
	if gaveUp || s.content > 0 || s.decoder.usage().Source == Reported {
		failure.Usage = s.Usage()
	}

	return failure
}

// isWhole tells whether an event that nothing terminated is still all there.
func isWhole(data []byte) bool { return isDone(data) || json.Valid(data) }
