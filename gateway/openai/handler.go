package openai

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/archonhq/archon/gateway/dialect"
	"github.com/archonhq/archon/gateway/limits"
	"github.com/archonhq/archon/gateway/plane"
	"github.com/archonhq/archon/internal/httpx"
)

const (
	// MaxBodyBytes bounds the body of a request: images travel in it.
	MaxBodyBytes = 32 << 20
	// bodyTimeout bounds how long a client may take to send a body, writeTimeout how long it may take to read a piece of the
	// answer.
	bodyTimeout  = time.Minute
	writeTimeout = 30 * time.Second

	defaultRetryAfter = time.Second
)

// headerRequestID is what OpenAI's clients name a request by, to the one who asks an operator about it: the id of the call,
// by which it is found in the log, or else of the request.
const headerRequestID = "X-Request-ID"

// Handler serves /v1. All fields must be set.
type Handler struct {
	Plane    *plane.Plane
	Verifier Verifier
	// Unauthenticated counts requests without a valid key or token.
	Unauthenticated func()
}

// Paths of the routes.
const (
	pathChat       = "/v1/chat/completions"
	pathEmbeddings = "/v1/embeddings"
	pathModels     = "/v1/models"
	pathModel      = "/v1/models/*" // ids of models may have slashes
)

// Mount adds the routes to e, behind its outer middleware.
func (h *Handler) Mount(e *echo.Echo) {
	e.POST(pathChat, h.serve(pathChat, h.chat))
	e.POST(pathEmbeddings, h.serve(pathEmbeddings, h.embeddings))
	e.GET(pathModels, h.serve(pathModels, h.models))
	e.GET(pathModel, h.serve("/v1/models/{id}", h.model))
	e.RouteNotFound("/v1", unknown)
	e.RouteNotFound("/v1/*", unknown)
}

// unknown answers whatever no route takes, methods that nobody has heard of included.
func unknown(c echo.Context) error {
	problem := &plane.Problem{
		Status: http.StatusNotFound, Type: "invalid_request_error", Code: "unknown_url",
		Message: "There is no such route. Archon serves POST /v1/chat/completions, POST /v1/embeddings and GET /v1/models.",
	}
	if method := methodOf(c.Request().URL.Path); method != "" {
		problem.Status, problem.Code = http.StatusMethodNotAllowed, "method_not_allowed"
		problem.Message = "This route takes " + method + " only."
		c.Response().Header().Set("Allow", method)
	}
	return fail(c, problem)
}

// methodOf is the method that a path is served with, empty where it is not served.
func methodOf(path string) string {
	model, one := strings.CutPrefix(path, pathModels+"/")
	switch {
	case path == pathChat, path == pathEmbeddings:
		return http.MethodPost
	case path == pathModels, one && model != "":
		return http.MethodGet
	}
	return ""
}

// serve authenticates, and renders problems.
func (h *Handler) serve(path string, handle func(c echo.Context, caller plane.Caller) *plane.Problem) echo.HandlerFunc {
	return func(c echo.Context) error {
		caller, problem := h.caller(c.Request(), path)
		if problem == nil {
			problem = handle(c, caller)
		} else if problem.Status == http.StatusUnauthorized {
			h.Unauthenticated()
		}
		if problem == nil {
			return nil
		}
		return fail(c, problem)
	}
}

// fail answers with a problem, where nothing has been answered yet.
func fail(c echo.Context, problem *plane.Problem) error {
	if c.Response().Committed {
		return nil
	}
	header := c.Response().Header()
	if problem.RetryAfter > 0 {
		header.Set("Retry-After", strconv.FormatInt(max(int64((problem.RetryAfter+time.Second-1)/time.Second), 1), 10))
		// OpenAI's clients read this one first, and would else wait a whole second where less will do.
		header.Set("Retry-After-Ms", strconv.FormatInt(max(problem.RetryAfter.Milliseconds(), 1), 10))
	}
	if problem.Lasting {
		header.Set("X-Should-Retry", "false") // OpenAI's clients heed it
	}
	if problem.Status == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", "Bearer")
	}
	header.Set(headerRequestID, cmp.Or(problem.CallID, httpx.From(c.Request().Context()).RequestID))
	return c.JSONBlob(problem.Status, problem.Body()) //nolint:wrapcheck // the client has gone
}

// read takes the whole body in, within its bounds.
func read(c echo.Context) ([]byte, *plane.Problem) {
	r := c.Request()
	if r.ContentLength > MaxBodyBytes {
		return nil, tooLarge()
	}
	controller := http.NewResponseController(c.Response())
	_ = controller.SetReadDeadline(time.Now().Add(bodyTimeout)) // a recorder in a test has no deadlines
	defer func() { _ = controller.SetReadDeadline(time.Time{}) }()
	var body []byte
	var err error
	if r.ContentLength > 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(io.LimitReader(r.Body, MaxBodyBytes+1))
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &plane.Problem{Status: http.StatusRequestTimeout, Type: "invalid_request_error", Code: "request_timeout", Message: "The body took too long to arrive."}
	case err != nil:
		return nil, &plane.Problem{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "malformed_body", Message: "The body ended early."}
	case len(body) > MaxBodyBytes:
		return nil, tooLarge()
	}
	return body, nil
}

func tooLarge() *plane.Problem {
	return &plane.Problem{
		Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Code: "body_too_large",
		Message: "The body is larger than 32 MiB; send images by URL, or fewer of them.",
	}
}

func (h *Handler) chat(c echo.Context, caller plane.Caller) *plane.Problem {
	body, problem := read(c)
	if problem != nil {
		return problem
	}
	chat, err := dialect.ParseChat(body)
	if err != nil {
		return malformed(err)
	}
	ctx := c.Request().Context()
	call := plane.ChatCall{Caller: caller, Chat: chat}
	if chat.Stream {
		stream, problem := h.Plane.StreamChat(ctx, call)
		if problem != nil {
			return problem
		}
		pass(ctx, c, stream)
		return nil
	}
	result, problem := h.Plane.Chat(ctx, call)
	if problem != nil {
		return problem
	}
	return answer(c, result)
}

func (h *Handler) embeddings(c echo.Context, caller plane.Caller) *plane.Problem {
	body, problem := read(c)
	if problem != nil {
		return problem
	}
	request, err := dialect.ParseEmbeddings(body)
	if err != nil {
		return malformed(err)
	}
	result, problem := h.Plane.Embed(c.Request().Context(), plane.EmbeddingsCall{Caller: caller, Embeddings: request})
	if problem != nil {
		return problem
	}
	return answer(c, result)
}

func malformed(err error) *plane.Problem {
	problem := &plane.Problem{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_request", Message: "The body can't be read."}
	if request, ok := errors.AsType[*dialect.RequestError](err); ok {
		problem.Message, problem.Param = request.Message, request.Param
		if request.Code != "" {
			problem.Code = request.Code
		}
	}
	return problem
}

// answer sends a whole answer.
func answer(c echo.Context, result *plane.Result) *plane.Problem {
	describe(c, result.CallID, &result.Limits)
	if result.Position > 0 {
		c.Response().Header().Set("X-Event-Position", strconv.FormatInt(result.Position, 10))
	}
	header := c.Response().Header()
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(result.Body)))
	c.Response().WriteHeader(http.StatusOK)
	_, _ = c.Response().Write(result.Body) // the call is in the log; a client that has gone is not told more
	return nil
}

// describe sets the headers that OpenAI's clients look at.
func describe(c echo.Context, callID string, verdict *limits.Verdict) {
	header := c.Response().Header()
	header.Set(headerRequestID, callID)
	if len(verdict.Levels) == 0 {
		return // the key has no limits
	}
	maps.Copy(header, limits.Headers(*verdict))
}

// list is OpenAI's list of models.
type list struct {
	Object string  `json:"object"`
	Data   []model `json:"data"`
}

type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func (h *Handler) models(c echo.Context, caller plane.Caller) *plane.Problem {
	models, problem := h.modelsOf(c.Request().Context(), caller)
	if problem != nil {
		return problem
	}
	return send(c, list{Object: "list", Data: models})
}

func (h *Handler) modelsOf(ctx context.Context, caller plane.Caller) ([]model, *plane.Problem) {
	offered, problem := h.Plane.Models(ctx, caller)
	if problem != nil {
		return nil, problem
	}
	models := make([]model, 0, len(offered))
	for _, one := range offered {
		models = append(models, model{ID: one.Name, Object: "model", OwnedBy: one.ProviderName})
	}
	return models, nil
}

func (h *Handler) model(c echo.Context, caller plane.Caller) *plane.Problem {
	models, problem := h.modelsOf(c.Request().Context(), caller)
	if problem != nil {
		return problem
	}
	id := strings.TrimPrefix(c.Request().URL.Path, pathModels+"/") // decoded, unlike what the router has
	for _, one := range models {
		if one.ID == id {
			return send(c, one)
		}
	}
	return &plane.Problem{
		Status: http.StatusNotFound, Type: "invalid_request_error", Code: "model_not_found", Param: "model",
		Message: "There is no such model, or the API key is not for it; GET /v1/models lists those that there are.",
	}
}

func send(c echo.Context, value any) *plane.Problem {
	encoded, err := json.Marshal(value)
	if err != nil {
		return &plane.Problem{Status: http.StatusInternalServerError, Type: "server_error", Code: "internal_error", Message: "Something went wrong."}
	}
	_ = c.JSONBlob(http.StatusOK, encoded) // a client that has gone
	return nil
}
