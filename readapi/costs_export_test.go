package readapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/readapi"
)

var _ = Describe("an export of many calls", Label("postgres"), Ordered, func() {
	// calls are as many as make keeping them show; a million take as much memory and five times as long.
	const calls = 200_000
	var f *fixture
	var pool *pgxpool.Pool

	BeforeAll(func(ctx context.Context) {
		f = newFixture(ctx)
		f.now = time.Date(2026, 2, 11, 15, 0, 0, 0, time.UTC)
		_, err := f.owner.Exec(ctx, `insert into token_ledger (tenant_id, started_at, recorded_position, id, kind, outcome, provider_type, model, user_id, prompt_tokens, completion_tokens,
				total_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, priced, cost_usd, occurred_at, created_at)
			select $1, '2026-02-01'::timestamptz + i * interval '1 second', i, gen_random_uuid(), 'chat', 'succeeded', 'openai', 'm', 'somebody-with-a-name-' || i, 1, 1, 2, 0, 0, 0, true, 0.1, now(), now()
			from generate_series(1, $2::integer) i`, tenant, calls)
		Expect(err).NotTo(HaveOccurred())
		_, err = f.owner.Exec(ctx, `insert into projection_checkpoints (tenant_id, projection, version, position, hash, status) values ($1, 'ledger', 1, $2, sha256('x'), 'live')`, tenant, calls)
		Expect(err).NotTo(HaveOccurred())
	})
	BeforeEach(func(ctx context.Context) {
		var err error
		pool, err = pgxpool.NewWithConfig(ctx, f.app.Config())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
	})

	// download asks a server of its own, over a connection, and returns the body to read.
	download := func() io.ReadCloser {
		GinkgoHelper()
		costs := &readapi.Costs{Database: readapi.Database{Pool: pool}, Now: func() time.Time { return f.now }}
		routes := echo.New()
		routes.GET("/export", func(e echo.Context) error {
			e.SetRequest(e.Request().WithContext(as(e.Request().Context(), tenant)))
			return costs.ExportCosts(e)
		})
		server := httptest.NewServer(routes)
		DeferCleanup(server.Close)
		response, err := http.Get(server.URL + "/export")
		Expect(err).NotTo(HaveOccurred())
		Expect(response.StatusCode).To(Equal(http.StatusOK))
		DeferCleanup(func() { _ = response.Body.Close() })
		return response.Body
	}

	It("takes no more memory at its end than at its beginning", func() {
		const growth, often = 6 << 20, 1 << 20 // the text alone has 17 MB, its rows 60
		live := func() int64 {
			var stats runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&stats)
			return int64(stats.HeapAlloc)
		}
		body, buffer := download(), make([]byte, 64<<10)
		lines, bytes, first, most := 0, 0, live(), int64(0)
		for looked := 0; ; {
			n, err := body.Read(buffer)
			lines += strings.Count(string(buffer[:n]), "\n")
			if bytes += n; bytes-looked >= often {
				looked, most = bytes, max(most, live()-first)
			}
			if err == io.EOF {
				break
			}
			Expect(err).NotTo(HaveOccurred())
		}
		Expect(lines).To(Equal(1 + calls))
		Expect(bytes).To(BeNumerically(">", 2*growth))
		Expect(most).To(BeNumerically("<", growth))
	})

	It("that can't be completed is seen to be cut off", func() {
		body := download()
		_, err := io.CopyN(io.Discard, body, 1<<20)
		Expect(err).NotTo(HaveOccurred())
		go pool.Close() // which waits for what is under way
		_, err = io.Copy(io.Discard, body)
		Expect(err).To(MatchError(io.ErrUnexpectedEOF))
	})
})
