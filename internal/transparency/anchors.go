package transparency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/archonhq/archon/eventstore"
)

// Anchor is a place for signed checkpoints which the database's owner can't rewrite. Putting the same one twice is fine.
type Anchor interface {
	// Name is what receipts call it.
	Name() string
	// Put returns once the note is durable there, with what the place answered.
	Put(ctx context.Context, checkpoint eventstore.Checkpoint, signed string) (receipt string, err error)
}

// Receipt is what an anchor answered.
type Receipt struct{ Anchor, Receipt string }

// Anchoring puts every signed checkpoint to all anchors, and the receipts into the log.
type Anchoring struct {
	Anchors []Anchor
	// Unanchored lists the logs of which a newer checkpoint is signed than the anchors have.
	Unanchored func(ctx context.Context) ([]eventstore.Unanchored, error)
	// Notes reads stored checkpoints; *eventstore.Store does.
	Notes func(ctx context.Context, tenant string, sizes ...int64) (map[int64]string, error)
	// Record appends the receipts and returns the event's position.
	Record func(ctx context.Context, tenant string, checkpoint eventstore.Checkpoint, receipts []Receipt) (position int64, err error)
	// Keep stores how far the anchors are.
	Keep func(ctx context.Context, tenant string, size, receipt int64) error
}

// round anchors what is new. A log that fails is tried again in the next round, and does not keep others from being anchored.
func (a *Anchoring) round(ctx context.Context, logger *slog.Logger) error {
	logs, err := a.Unanchored(ctx)
	if err != nil {
		return err
	}
	for _, log := range logs {
		if ctx.Err() != nil {
			return fmt.Errorf("anchor checkpoints: %w", context.Cause(ctx))
		}
		if err := a.anchor(ctx, log); err != nil {
			logger.WarnContext(ctx, "a checkpoint could not be anchored and will be tried again", slog.String("tenant", log.Tenant), slog.Any("error", err))
		}
	}
	return nil
}

func (a *Anchoring) anchor(ctx context.Context, log eventstore.Unanchored) error {
	notes, err := a.Notes(ctx, log.Tenant, log.Size)
	if err != nil {
		return err
	}
	signed := notes[log.Size]
	text, _, _ := strings.Cut(signed, "\n\n")
	checkpoint, err := eventstore.ParseCheckpoint(text + "\n")
	if err != nil {
		return fmt.Errorf("the stored checkpoint of %d events can't be read: %w", log.Size, err)
	}
	var receipts []Receipt
	for _, anchor := range a.Anchors {
		receipt, err := anchor.Put(ctx, checkpoint, signed)
		if err != nil {
			return fmt.Errorf("anchor at %s: %w", anchor.Name(), err)
		}
		receipts = append(receipts, Receipt{anchor.Name(), receipt})
	}
	position, err := a.Record(ctx, log.Tenant, checkpoint, receipts)
	if err != nil {
		return err
	}
	return a.Keep(ctx, log.Tenant, log.Size, position)
}

// Directory keeps checkpoints as files, <dir>/<origin>/<size>, which are written once and never changed.
type Directory struct{ Dir string }

// Name implements Anchor.
func (Directory) Name() string { return "directory" }

// ErrContradicted says that an anchor has another checkpoint of the same log and size: one of the two was forged.
var ErrContradicted = errors.New("it has another checkpoint of the same log and size")

// Put implements Anchor. A file that a crash has cut off is completed, since nothing may ever be removed there.
func (d Directory) Put(_ context.Context, checkpoint eventstore.Checkpoint, signed string) (string, error) {
	name := filepath.Join(filepath.FromSlash(checkpoint.Origin), fmt.Sprintf("%020d", checkpoint.Size))
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q is not a name for a file", name)
	}
	path := filepath.Join(d.Dir, name)
	const folders, files = 0o755, 0o644 // checkpoints are for everybody
	if err := os.MkdirAll(filepath.Dir(path), folders); err != nil {
		return "", fmt.Errorf("make a folder for checkpoints: %w", err)
	}
	there, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for a checkpoint: %w", err)
	}
	rest, continues := bytes.CutPrefix([]byte(signed), there)
	if !continues {
		return "", fmt.Errorf("%w: %s", ErrContradicted, path)
	}
	if len(rest) == 0 {
		return "", nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, files)
	if err != nil {
		return "", fmt.Errorf("write a checkpoint: %w", err)
	}
	_, err = file.Write(rest)
	if err := errors.Join(err, file.Sync(), file.Close(), syncDir(filepath.Dir(path))); err != nil {
		return "", fmt.Errorf("write a checkpoint: %w", err)
	}
	return "", nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // the caller does
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Bounds of an endpoint's answers.
const (
	endpointTimeout = 10 * time.Second
	// MaxReceiptBytes is how much of an answer is kept.
	MaxReceiptBytes = 1 << 10
)

// Endpoint posts checkpoints to a URL.
type Endpoint struct {
	url    string
	name   string
	client *http.Client
}

// NewEndpoint makes the anchor of a URL, whose host is its name.
func NewEndpoint(address string) (*Endpoint, error) {
	parsed, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("read the anchor's URL: %w", err)
	}
	return &Endpoint{url: address, name: parsed.Host, client: &http.Client{
		Timeout:       endpointTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Name implements Anchor.
func (e *Endpoint) Name() string { return e.name }

var errEndpoint = errors.New("the endpoint did not take it")

// Put implements Anchor.
func (e *Endpoint) Put(ctx context.Context, _ eventstore.Checkpoint, signed string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, strings.NewReader(signed))
	if err != nil {
		return "", fmt.Errorf("prepare to post a checkpoint: %w", err)
	}
	request.Header.Set("Content-Type", "text/plain; charset=utf-8")
	response, err := e.client.Do(request)
	if err != nil {
		return "", fmt.Errorf("post a checkpoint: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusMultipleChoices {
		return "", fmt.Errorf("%w: status %d", errEndpoint, response.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(response.Body, MaxReceiptBytes))
	if err != nil {
		return "", fmt.Errorf("read an anchor's receipt: %w", err)
	}
	for len(answer) > 0 && !utf8.Valid(answer) {
		answer = answer[:len(answer)-1] // a character that the bound has cut, or what is no text at all
	}
	return string(answer), nil
}

var (
	_ Anchor = Directory{}
	_ Anchor = (*Endpoint)(nil)
)
