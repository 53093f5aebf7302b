package cli_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("What a client can make Archon do", Label("e2e"), Ordered, func() {
	var place *installation
	var admin string

	BeforeAll(func() {
		place = install()
		place.start()
		admin = place.token("acme", "ada", "admin")
	})

	It("is not to fill the log with refusals: they are recorded at a bounded rate, and what is left out is counted", func() {
		// The bounds of commands.Refusals.
		const burst, perSecond = 200, 20
		const callers, calls = 16, 40
		refuse := func() (recorded bool) {
			GinkgoHelper()
			refused := place.must(http.MethodPatch, providersPath+"/"+uuid.NewString(), admin, map[string]any{"is_enabled": true})
			Expect(refused.status).To(Equal(http.StatusNotFound), "a client gets its answer all the same: "+refused.body)
			return refused.header.Get("X-Event-Position") != ""
		}
		began := time.Now()
		var sent, recorded atomic.Int64
		atOnce(callers, func(int) {
			for range calls {
				sent.Add(1)
				if refuse() {
					recorded.Add(1)
				}
			}
		})
		Expect(recorded.Load()).To(BeNumerically("<=", burst+1+int64(perSecond*time.Since(began).Seconds())))
		Eventually(func() bool { // until one is recorded, which then counts what was left out before it
			sent.Add(1)
			return refuse()
		}).WithTimeout(bound).Should(BeTrue())
		recorded.Add(1)

		asOwner(place, func(ctx context.Context, conn *pgx.Conn) {
			var events, suppressed int64
			Expect(conn.QueryRow(ctx, `select count(*), coalesce(sum((convert_from(data, 'UTF8')::jsonb ->> 'suppressed')::bigint), 0)
				from events where tenant_id = 'acme' and type = 'audit.write_refused.v1'`).Scan(&events, &suppressed)).To(Succeed())
			Expect(events).To(Equal(recorded.Load()))
			Expect(events+suppressed).To(Equal(sent.Load()), "none is lost from the count")
		})
	})

	It("is not to verify one log many times at once", func() {
		const callers = 16
		replies := make([]reply, callers)
		atOnce(callers, func(index int) { replies[index] = place.must(http.MethodGet, "/api/v1/audit/verify", admin, nil) })
		Expect(statuses(replies)).To(ContainElement(http.StatusOK))
		for _, r := range replies {
			if r.status == http.StatusOK {
				Expect(r.data()).To(HaveKeyWithValue("ok", true))
				continue
			}
			Expect(r.status).To(Equal(http.StatusTooManyRequests), r.body)
			Expect(r.header.Get("Retry-After")).NotTo(BeEmpty())
		}
	})
})
