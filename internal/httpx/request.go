package httpx

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/auth"
)

// Request is what this package has learnt of a request. Handlers find it with [From]; its fields are theirs to read.
type Request struct {
	// RequestID names this one request; CorrelationID is shared by all that it causes. Both are UUIDs.
	RequestID, CorrelationID string
	// Operation is the operationId of the document, Method and Path its method and path template. Method is GET for a HEAD.
	// All are empty outside of the document's operations.
	Operation, Method, Path string
	// Target is the path as it was sent; it scopes an Idempotency-Key.
	Target string
	// SuccessStatus is the status that the document declares for a success.
	SuccessStatus int
	// Principal is the verified caller.
	Principal auth.Principal
	// IP is the client's address, behind trusted proxies the one that they name; empty where it can't be told.
	IP string
	// UserAgent is bounded, valid UTF-8 without control characters.
	UserAgent string
	// IdempotencyKey is empty where the client sent none, and on reads.
	IdempotencyKey string
	// IfMatch is nil where the client sent none, and on reads.
	IfMatch *IfMatch
	// RespondAsync is whether the client does not want to wait for the read tables.
	RespondAsync bool
	// MediaType is the first of those that the document has for a success that the client accepts.
	MediaType string
	// MinPosition is the position that the client wants to see; 0 where it named none.
	MinPosition int64
	// Body is the body as it was sent, of writes only.
	Body []byte

	header   http.Header
	now      func() time.Time
	recorded atomic.Bool
	done     []func()
	code     string
}

type requestKey struct{}

// From returns the request that ctx belongs to. Outside of a request it is an empty one, so that reading it is safe.
func From(ctx context.Context) *Request {
	if request, found := ctx.Value(requestKey{}).(*Request); found {
		return request
	}
	return &Request{header: http.Header{}, now: time.Now}
}

// With returns a context that belongs to the request. The server does this; it is exported for tests of handlers.
func With(ctx context.Context, request *Request) context.Context {
	if request.header == nil {
		request.header = http.Header{}
	}
	if request.now == nil {
		request.now = time.Now
	}
	return context.WithValue(ctx, requestKey{}, request)
}

// SetProjectionLag says in the answer that the read tables did not show what was waited for within the bound.
func (r *Request) SetProjectionLag() { r.header.Set(HeaderProjectionLag, "true") }

// SetEventPosition says in the answer which position of the log the write reached.
func (r *Request) SetEventPosition(position int64) {
	r.header.Set(HeaderEventPosition, strconv.FormatInt(position, decimal))
}

// MarkRecorded says that the refusal which the request gets is in the log already, or has been when it was first given.
func MarkRecorded(ctx context.Context) { From(ctx).recorded.Store(true) }

// Meta is the envelope's meta of an answer that is made now.
func Meta(ctx context.Context) api.Meta {
	request := From(ctx)
	return api.Meta{RequestID: request.RequestID, Timestamp: request.now().UTC()}
}

// ListMeta is the envelope's meta of a page that is made now. next is the cursor of the next page, empty on the last one;
// total may be nil.
func ListMeta(ctx context.Context, limit int, next string, total *int64) api.ListMeta {
	meta := Meta(ctx)
	page := api.Pagination{Limit: limit, Total: total}
	if next != "" {
		page.NextCursor = &next
	}
	return api.ListMeta{RequestID: meta.RequestID, Timestamp: meta.Timestamp, Pagination: page}
}

const decimal = 10

// newRequest reads what every request has, whether it matches an operation or not.
func newRequest(r *http.Request, header http.Header, trusted []netip.Prefix, now func() time.Time) *Request {
	return &Request{
		RequestID:     newID(),
		CorrelationID: correlationID(r.Header),
		Target:        r.URL.EscapedPath(),
		IP:            clientIP(r, trusted),
		UserAgent:     cleanText(r.UserAgent(), maxUserAgentBytes),
		header:        header,
		now:           now,
	}
}

// newID is a UUIDv7, or, should the system have no randomness, the nil UUID: an id is no reason to fail a request.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil.String()
	}
	return id.String()
}

// uuidLength is that of the one spelling that counts; uuid.Parse takes braces and urn:uuid: too.
const uuidLength = 36

// correlationID is the client's, if it is one UUID, else a new one.
func correlationID(header http.Header) string {
	sent := header.Values(HeaderCorrelationID)
	if len(sent) != 1 || len(sent[0]) != uuidLength {
		return newID()
	}
	id, err := uuid.Parse(sent[0])
	if err != nil {
		return newID()
	}
	return id.String()
}

const maxUserAgentBytes = 512

// cleanText cuts text that goes into the log to max bytes of printable UTF-8.
func cleanText(text string, maxBytes int) string {
	clean := strings.Map(func(char rune) rune {
		if unicode.IsControl(char) {
			return -1
		}
		return char
	}, strings.ToValidUTF8(text, "�"))
	if len(clean) <= maxBytes {
		return clean
	}
	end := maxBytes
	for end > 0 && !utf8.RuneStart(clean[end]) {
		end--
	}
	return clean[:end]
}
