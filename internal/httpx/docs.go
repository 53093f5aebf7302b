package httpx

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui/v5emb"

	"github.com/archonhq/archon/api"
)

const (
	pathDocument = "/openapi.yaml"
	pathDocs     = "/docs"
)

// mountDocs serves the OpenAPI document and the page to browse it, whose parts are all embedded.
func mountDocs(e *echo.Echo) {
	mountRead(e, pathDocument, func(c echo.Context) error {
		c.Response().Header().Set(headerCacheControl, "no-cache")
		return c.Blob(http.StatusOK, "application/yaml", api.Document())
	})
	page := v5emb.New("Archon API", pathDocument, pathDocs)
	policy := docsPolicy(page)
	handler := func(c echo.Context) error {
		header := c.Response().Header()
		header.Set(headerPolicy, policy)
		header.Set(headerCacheControl, "no-cache")
		page.ServeHTTP(c.Response(), c.Request())
		return nil
	}
	mountRead(e, pathDocs, handler)
	mountRead(e, pathDocs+"/*", handler)
}

// docsPolicy allows the page what it is made of and nothing else: its own files, its inline scripts by their hash, and
// calls to this server. Swagger UI sets styles and images inline.
func docsPolicy(page http.Handler) string {
	rendered := &buffer{header: http.Header{}}
	page.ServeHTTP(rendered, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: pathDocs}, Header: http.Header{}})
	scripts := []string{"'self'"}
	for _, script := range regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllSubmatch(rendered.Bytes(), -1) {
		sum := sha256.Sum256(script[1])
		scripts = append(scripts, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	return strings.Join([]string{
		"default-src 'none'", "script-src " + strings.Join(scripts, " "), "style-src 'self' 'unsafe-inline'",
		"img-src 'self' data:", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
	}, "; ")
}

// buffer takes a page that is rendered without a client.
type buffer struct {
	bytes.Buffer

	header http.Header
}

// Header implements http.ResponseWriter.
func (b *buffer) Header() http.Header { return b.header }

// WriteHeader implements http.ResponseWriter.
func (b *buffer) WriteHeader(int) {}
