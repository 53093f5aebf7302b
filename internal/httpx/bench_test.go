package httpx_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/internal/httpx"
)

func benchHandler(b *testing.B) http.Handler {
	b.Helper()
	done := &handlers{provider: &api.GetProvider200JSONResponse{}}
	done.write = func(context.Context) (httpx.Answer, error) { return httpx.Answer{Status: http.StatusNoContent}, nil }
	e, err := httpx.New(httpx.Config{Handlers: done, Streams: done.streams(), Verifier: tokens{}, Writes: &book{}, Waiter: &waiter{}, Health: httpx.NewHealth(nil)})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func benchmark(b *testing.B, method, path, body string) {
	b.Helper()
	handler := benchHandler(b)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer admin.acme")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= http.StatusBadRequest {
			b.Fatal(w.Body)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	benchmark(b, http.MethodGet, providersPath+"/p?as_of=2025-01-01T00:00:00Z", "")
}

func BenchmarkPost(b *testing.B) { benchmark(b, http.MethodPost, providersPath, goodBody) }

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		benchHandler(b)
	}
}
