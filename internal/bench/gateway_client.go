package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// caller makes one call at a time over a connection of its own. It is as plain as it can be, since on a small machine what
// the client costs is added to what is measured.
type caller struct {
	target target
	conn   net.Conn
	reader *bufio.Reader
	body   bytes.Buffer
}

// callTimeout bounds one call: what takes longer is a fault, not a figure.
const callTimeout = 30 * time.Second

var errWrongAnswer = errors.New("wrong answer")

func (t target) dial(ctx context.Context) (*caller, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.variant, err)
	}
	return &caller{target: t, conn: conn, reader: bufio.NewReader(conn)}, nil
}

func (c *caller) close() { _ = c.conn.Close() }

// request is the bytes of a request whose answer ends with number.
func (t target) request(number string, streamed, waits bool) []byte {
	asks := "say "
	if waits {
		asks = "wait and say "
	}
	stream := ""
	if streamed {
		stream = `,"stream":true`
	}
	body := `{"model":"` + gatewayModel + `"` + stream + `,"max_tokens":100,"temperature":0.2,"messages":[{"role":"system","content":"You are a helpful assistant that answers ` +
		`questions about geography, in whole sentences and without making anything up."},{"role":"user","content":"What is the capital of France? Then ` + asks + number + `"}]}`
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nUser-Agent: archon-bench\r\nContent-Length: %d\r\n\r\n%s",
		t.addr, t.key, len(body), body)
}

// plain makes a call whose answer is one piece.
func (c *caller) plain(number string) error {
	response, err := c.send(c.target.request(number, false, false))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	c.body.Reset()
	if _, err := c.body.ReadFrom(response.Body); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.target.variant, err)
	}
	if response.StatusCode != http.StatusOK || !bytes.Contains(c.body.Bytes(), []byte(answerWords[0])) || !bytes.Contains(c.body.Bytes(), []byte(" "+number+`"`)) {
		return fmt.Errorf("%w: %s: %d %s", errWrongAnswer, c.target.variant, response.StatusCode, c.body.Bytes())
	}
	return nil
}

func (c *caller) send(request []byte) (*http.Response, error) {
	if err := c.conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return nil, fmt.Errorf("call %s: %w", c.target.variant, err)
	}
	if _, err := c.conn.Write(request); err != nil {
		return nil, fmt.Errorf("call %s: %w", c.target.variant, err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", c.target.variant, err)
	}
	return response, nil
}

// streamed makes a streamed call. first is called when the first token has arrived.
func (c *caller) streamed(number string, waits bool, first func()) error {
	response, err := c.send(c.target.request(number, true, waits))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var said strings.Builder
	done := false
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		data, found := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !found {
			continue
		}
		if done = string(data) == "[DONE]"; done {
			break
		}
		token, err := tokenIn(data)
		if err != nil {
			return err
		}
		if said.Len() == 0 && token != "" {
			first()
		}
		said.WriteString(token)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the stream of %s: %w", c.target.variant, err)
	}
	_, _ = io.Copy(io.Discard, response.Body) // the end of the chunks, so that the connection serves again
	if want := strings.Join(answerWords, "") + number; !done || said.String() != want {
		return fmt.Errorf("%w: %s: %d, done %t, %q instead of %q", errWrongAnswer, c.target.variant, response.StatusCode, done, said.String(), want)
	}
	return nil
}

// tokenIn is the text in a chunk of a stream.
func tokenIn(data []byte) (string, error) {
	var chunk struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(data, &chunk); err != nil {
		return "", fmt.Errorf("%w: %w", errWrongAnswer, err)
	}
	if len(chunk.Choices) == 0 {
		return "", nil
	}
	return chunk.Choices[0].Delta.Content, nil
}
