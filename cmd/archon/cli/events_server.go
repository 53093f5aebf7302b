package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/archonhq/archon/subscriptions"
)

const (
	// firstPause and longestPause are how long a follower waits before it connects again, twice as long each time.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// askTimeout bounds a request for a page, and the opening of a socket.
	askTimeout = 30 * time.Second
	// maxFrameBytes is more than the largest event takes, escaped.
	maxFrameBytes = 64 << 20
)

// follower prints a tenant's events as a server sends them, and connects again where it left off.
type follower struct {
	process Process
	server  *url.URL
	token   string
	streams string
	types   string
	// after is the position that has been printed up to, -1 for not known yet.
	after int64
}

// run prints what a server has and, with on, what it gets.
func (f *follower) run(ctx context.Context, server, token string, on bool) (err error) {
	if f.server, err = serverURL(server); err != nil {
		return usageError{err}
	}
	if f.token, err = readToken(token, os.Stdin); err != nil {
		return err
	}
	switch {
	case on:
		return f.follow(ctx)
	case f.after < 0:
		return nil // it begins with the next event, and ends before it
	}
	return f.list(ctx)
}

// serverURL reads the address of a server.
func serverURL(text string) (*url.URL, error) {
	server, err := url.Parse(text)
	if err != nil || (server.Scheme != "http" && server.Scheme != "https") || server.Host == "" || server.RawQuery != "" || server.Fragment != "" {
		return nil, errors.New("--server must be a URL such as http://localhost:8080")
	}
	return server, nil
}

// follow prints events until ctx ends, or the server refuses.
func (f *follower) follow(ctx context.Context) error {
	wait := firstPause
	for {
		before := f.after
		err := f.once(ctx)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it was interrupted, which is how it ends
		}
		if refused, is := errors.AsType[refusedError](err); is {
			return refused
		}
		if f.after != before {
			wait = firstPause
		}
		fmt.Fprintf(f.process.Stderr, "archon: %v; connecting again\n", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, longestPause)
	}
}

// refusedError is an answer that asking again does not change.
type refusedError struct{ error }

// once follows one connection to its end.
func (f *follower) once(ctx context.Context) error {
	dialling, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	target := f.query(f.server.JoinPath("/ws/events"), "streams", "types")
	conn, response, err := websocket.Dial(dialling, target, &websocket.DialOptions{ //nolint:bodyclose // that of a refusal is, below
		HTTPHeader: http.Header{"Authorization": {"Bearer " + f.token}},
	})
	if err != nil {
		return f.refusal(response, fmt.Errorf("open a socket: %w", err))
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxFrameBytes)
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return f.farewell(err)
		}
		if err := f.frame(text); err != nil {
			return refusedError{err}
		}
	}
}

// query adds what is asked for to a URL; the filters' names differ between socket and list.
func (f *follower) query(target *url.URL, streams, types string) string {
	values := url.Values{}
	if f.streams != "" {
		values.Set(streams, f.streams)
	}
	if f.types != "" {
		values.Set(types, f.types)
	}
	if f.after >= 0 {
		values.Set("after", strconv.FormatInt(f.after, 10))
	}
	target.RawQuery = values.Encode()
	return target.String()
}

// refusal is what the server said instead of opening a socket, or the failure where it said nothing, or may say something
// else next time.
func (f *follower) refusal(response *http.Response, failure error) error {
	if response == nil || response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusTooManyRequests {
		return failure
	}
	defer func() { _ = response.Body.Close() }()
	var envelope struct {
		Error struct {
			Message string         `json:"message"`
			Details map[string]any `json:"details"`
		} `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(response.Body, maxFrameBytes)).Decode(&envelope) != nil || envelope.Error.Message == "" {
		return refusedError{fmt.Errorf("the server answered %s; is this an Archon's address?", response.Status)}
	}
	said := []string{envelope.Error.Message}
	for field, reason := range envelope.Error.Details {
		said = append(said, fmt.Sprintf("%s: %v.", field, reason))
	}
	return refusedError{fmt.Errorf("the server answered %s: %s", response.Status, strings.Join(said, " "))}
}

// farewell is why a socket has ended. Its position counts: it may be further than the last event's.
func (f *follower) farewell(err error) error {
	var said websocket.CloseError
	if !errors.As(err, &said) {
		return fmt.Errorf("read the socket: %w", err)
	}
	if position, err := strconv.ParseInt(said.Reason, 10, 64); err == nil {
		f.after = max(f.after, position)
	}
	if said.Code == subscriptions.CodeUnauthorised {
		return refusedError{fmt.Errorf("the token has expired; go on with another one and --after %d", f.after)}
	}
	return fmt.Errorf("the server closed the socket with %d", said.Code)
}

// exportFields are an event in the order of the export. What a role may not see is not there.
type exportFields struct {
	Tenant     json.RawMessage `json:"tenant_id,omitempty"`
	Position   int64           `json:"position"`
	Stream     json.RawMessage `json:"stream,omitempty"`
	Version    json.RawMessage `json:"version,omitempty"`
	EventID    json.RawMessage `json:"event_id,omitempty"`
	Type       json.RawMessage `json:"type,omitempty"`
	OccurredAt json.RawMessage `json:"occurred_at,omitempty"`
	CommandID  json.RawMessage `json:"command_id,omitempty"`
	Meta       json.RawMessage `json:"meta,omitempty"`
	Data       json.RawMessage `json:"data,omitempty"`
	PrevHash   json.RawMessage `json:"prev_hash,omitempty"`
	Hash       json.RawMessage `json:"hash,omitempty"`
}

// frame takes one message of the socket.
func (f *follower) frame(text []byte) error {
	var kind struct {
		Type      string          `json:"type"`
		EventType json.RawMessage `json:"event_type"`
	}
	var fields exportFields
	if err := errors.Join(json.Unmarshal(text, &kind), json.Unmarshal(text, &fields)); err != nil {
		return fmt.Errorf("read a message of the server: %w", err)
	}
	if kind.Type == "event" {
		fields.Type = kind.EventType
		line, err := json.Marshal(fields)
		if err != nil {
			return fmt.Errorf("print an event: %w", err)
		}
		if _, err := fmt.Fprintf(f.process.Stdout, "%s\n", line); err != nil {
			return fmt.Errorf("print an event: %w", err)
		}
	}
	f.after = max(f.after, fields.Position)
	return nil
}

// list prints the events up to the end of the log.
func (f *follower) list(ctx context.Context) error {
	for cursor := ""; ; {
		target, err := url.Parse(f.query(f.server.JoinPath("/api/v1/events"), "stream", "type"))
		if err != nil {
			return fmt.Errorf("ask for events: %w", err)
		}
		if cursor != "" {
			target.RawQuery += "&cursor=" + url.QueryEscape(cursor)
		}
		if cursor, err = f.page(ctx, target.String()); err != nil || cursor == "" {
			return err
		}
	}
}

// page prints one page and returns the cursor of the next one, empty where there is none.
func (f *follower) page(ctx context.Context, target string) (next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask for events: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+f.token)
	client := &http.Client{} // ctx bounds it
	response, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask for events: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return "", f.refusal(response, fmt.Errorf("the server answered %s", response.Status))
	}
	defer func() { _ = response.Body.Close() }()
	var envelope struct {
		Data []json.RawMessage `json:"data"`
		Meta struct {
			Pagination struct {
				Next *string `json:"next_cursor"`
			} `json:"pagination"`
		} `json:"meta"`
	}
	if err := json.NewDecoder(response.Body).Decode(&envelope); err != nil {
		return "", fmt.Errorf("read a page of events: %w", err)
	}
	for _, line := range envelope.Data {
		if _, err := fmt.Fprintf(f.process.Stdout, "%s\n", line); err != nil {
			return "", fmt.Errorf("print an event: %w", err)
		}
	}
	if envelope.Meta.Pagination.Next == nil {
		return "", nil
	}
	return *envelope.Meta.Pagination.Next, nil
}

// readToken is the token as it is, or read from a stream where it is "-": command lines are seen by others.
func readToken(flag string, stdin io.Reader) (string, error) {
	if flag != "-" {
		return flag, nil
	}
	const enough = 64 << 10
	text, err := io.ReadAll(io.LimitReader(stdin, enough))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}
