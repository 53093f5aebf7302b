package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/archonhq/archon/internal/netguard"
)

const (
	defaultTestTimeout = 10 * time.Second
	defaultMaxBody     = 4 << 20
	maxErrorBody       = 64 << 10
)

// TesterOptions tunes [NewTester]; the zero value is fit for use.
type TesterOptions struct {
	// Timeout bounds a whole test, from name resolution to the last byte of the
	// answer. Default 10 s.
	Timeout time.Duration
	// MaxBodyBytes bounds the answer that is read. Default 4 MiB.
	MaxBodyBytes int64
	// UserAgent is sent with every test. Default "archon".
	UserAgent string
}

// Tester finds out whether a provider can be reached with given credentials, by
// asking for its list of models. It is safe for concurrent use.
type Tester struct {
	client  *http.Client
	options TesterOptions
}

// NewTester makes a Tester that calls through client, which comes from
// [netguard.NewClient]: any other would let a base URL reach this server's own
// network.
func NewTester(client *http.Client, options TesterOptions) *Tester {
	options.Timeout = cmp.Or(options.Timeout, defaultTestTimeout)
	options.MaxBodyBytes = cmp.Or(options.MaxBodyBytes, defaultMaxBody)
	options.UserAgent = cmp.Or(options.UserAgent, "archon")

	return &Tester{client: client, options: options}
}

// TestResult is what a connection test found.
type TestResult struct {
	OK bool
	// LatencyMS is the time of the whole test in milliseconds, failed ones too.
	LatencyMS int64
	// ModelsFound is the number of models listed; 0 also where there is no list.
	ModelsFound int
	// Models are the names of the first 1000 models, for suggestions; a name
	// that holds a credential is left out.
	Models []string
	// Error says in words that may be shown why the test failed, "" if it did not.
	Error string
	// Status is the HTTP status of the answer, 0 where there was none.
	Status int
}

var errTestTimeout = errors.New("the connection test took too long")

// Test asks target for its models once. It never returns later than the
// configured timeout and reports every failure in the result. correlationID
// travels upstream as X-Correlation-ID.
func (t *Tester) Test(ctx context.Context, target Target, correlationID string) TestResult {
	started := time.Now()

	ctx, cancel := context.WithTimeoutCause(ctx, t.options.Timeout, errTestTimeout)
	defer cancel()

	result := t.list(ctx, target, correlationID)
	result.OK = result.Error == ""
	result.LatencyMS = time.Since(started).Milliseconds()

	if !result.OK {
		result.Error = cmp.Or(Redact(result.Error, target.secrets()...), "failed")
	}

	return result
}

// list does the test; its Error is not redacted yet.
func (t *Tester) list(ctx context.Context, target Target, correlationID string) TestResult {
	request, err := t.request(ctx, target, correlationID)
	if err != nil {
		return TestResult{Error: err.Error()}
	}

	response, err := t.client.Do(request)
	if err != nil {
		return TestResult{Error: t.explain(ctx, err, "no answer")}
	}

	defer func() { _ = response.Body.Close() }() // read as far as wanted; nothing to do about the rest

	switch {
	case !listsModels(target):
		return reached(response)
	case response.StatusCode < http.StatusMultipleChoices:
		return t.readModels(ctx, target, response)
	default:
		return refused(response)
	}
}

// request builds the call. Its errors are ours and safe to show.
func (t *Tester) request(ctx context.Context, target Target, correlationID string) (*http.Request, error) {
	base, err := parseBase(target.baseURL())
	if err != nil {
		return nil, err
	}

	request, err := target.request(ctx, http.MethodGet, listURL(target, base), http.NoBody, correlationID)
	if err != nil {
		return nil, err
	}

	if request.Header.Get(agentHeader) == "" {
		request.Header.Set(agentHeader, t.options.UserAgent)
	}

	return request, nil
}

func (t *Tester) readModels(ctx context.Context, target Target, response *http.Response) TestResult {
	result := TestResult{Status: response.StatusCode}

	body, err := io.ReadAll(io.LimitReader(response.Body, t.options.MaxBodyBytes+1))

	switch {
	case err != nil:
		result.Error = t.explain(ctx, err, "no complete answer")
	case int64(len(body)) > t.options.MaxBodyBytes:
		result.Error = "the answer is larger than " + sizeText(t.options.MaxBodyBytes)
	default:
		result.readList(target, body)
	}

	return result
}

func (r *TestResult) readList(target Target, body []byte) {
	list, err := parseModels(target.Type, body)
	if err != nil {
		r.Error = err.Error()
		if said := providerMessage(body, 0); said != "" {
			r.Error += ": " + said // some answer 200 with an error in it
		}

		return
	}

	finder := newSecretFinder(target.secrets())
	r.ModelsFound, r.Models = list.count, slices.DeleteFunc(list.names, finder.finds)
}

// refused reads an error answer as far as it comes; the status alone says enough.
func refused(response *http.Response) TestResult {
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxErrorBody))

	return TestResult{
		Status: response.StatusCode,
		Error:  failureText(response.StatusCode, response.Header, body),
	}
}

// reached judges an answer where there is no list to read: a provider that
// neither turns the credentials away nor fails is there, whatever it makes of
// the path.
func reached(response *http.Response) TestResult {
	turnsAway := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired}
	if response.StatusCode >= http.StatusInternalServerError || slices.Contains(turnsAway, response.StatusCode) {
		return refused(response)
	}

	return TestResult{Status: response.StatusCode}
}

// explain says why a call failed; missing is what did not come in time.
func (t *Tester) explain(ctx context.Context, err error, missing string) string {
	if errors.Is(context.Cause(ctx), errTestTimeout) {
		return missing + " within " + t.options.Timeout.String()
	}

	return netguard.Explain(err)
}

func sizeText(bytes int64) string {
	const mebibyte = 1 << 20
	if bytes%mebibyte == 0 {
		return strconv.FormatInt(bytes/mebibyte, 10) + " MiB"
	}

	return strconv.FormatInt(bytes, 10) + " bytes"
}
