package cli_test

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain/alerts"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
)

// raiseAlert is another node on the same database that has called a model without a price.
func raiseAlert(place *installation, tenant, model string) {
	GinkgoHelper()
	asNode(place, func(ctx context.Context, handler *commands.Handler) error {
		return (&commands.Alerts{Handler: handler}).Raise(ctx, tenant, alerts.Unpriced("custom", model)) //nolint:wrapcheck // a test
	})
}

// asNode does something as a node of the installation would.
func asNode(place *installation, work func(ctx context.Context, handler *commands.Handler) error) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	pool, err := pgxpool.New(ctx, runtimeURL(place))
	Expect(err).NotTo(HaveOccurred())
	defer pool.Close()
	log := slog.New(slog.DiscardHandler)
	store := eventstore.New(pool, eventstore.Config{Log: log})
	defer func() { Expect(store.Close(ctx)).To(Succeed()) }()
	Expect(work(ctx, &commands.Handler{Log: store, Codec: eventcodec.New(), Now: time.Now, Logger: log})).To(Succeed())
}

// alertsContract is the contract of alerts.
func alertsContract(shared func() *surface) {
	var s *surface
	var name, admin string

	BeforeEach(func() {
		s = shared()
		name = "t-" + uuid.NewString()[:8]
		admin = s.token(name, "ada", "admin")
	})

	// until reads the list until it holds as many alerts.
	until := func(status string, many int) []map[string]any {
		GinkgoHelper()
		var list []map[string]any
		Eventually(func() []map[string]any {
			list = s.get(alertsPath+"?status="+status, s.token(name, "vic", "viewer")).list()
			return list
		}).WithTimeout(bound).Should(HaveLen(many))
		return list
	}

	It("shows an alert about a model without a price until it has one", func() {
		Expect(s.get(alertsPath, admin).list()).To(BeEmpty())
		raiseAlert(s.installation, name, "in-house-7b-2026-01-31")
		open := until("open", 1)
		Expect(open[0]).To(And(
			HaveKeyWithValue("id", MatchRegexp(uuidPattern)), HaveKeyWithValue("kind", "unpriced_model"), HaveKeyWithValue("status", "open"),
			HaveKeyWithValue("subject", "custom/in-house-7b-2026-01-31"), HaveKeyWithValue("created_at", beTime()), HaveKeyWithValue("resolved_at", BeNil()),
			HaveKeyWithValue("details", Equal(map[string]any{"provider_type": "custom", "model": "in-house-7b-2026-01-31"}))))

		Expect(s.ask(http.MethodPut, pricingPath, admin, priced(map[string]any{"model": "another"})).status).To(Equal(http.StatusOK))
		Expect(s.ask(http.MethodPut, pricingPath, admin, priced(nil)).status).To(Equal(http.StatusOK))
		resolved := until("resolved", 1)
		Expect(resolved[0]).To(And(HaveKeyWithValue("id", open[0]["id"]), HaveKeyWithValue("resolved_at", beTime()), HaveKeyWithValue("resolution", "The model has a price now.")))
		until("open", 0)

		By("raising it though it has one, as a node does that has not heard of it")
		raiseAlert(s.installation, name, "in-house-7b")
		until("resolved", 2)
		Expect(s.get(alertsPath, admin).list()).To(HaveLen(2))
	})

	It("resolves it when a price that was set ahead begins to hold", func() {
		raiseAlert(s.installation, name, "in-house-7b")
		until("open", 1)
		soon := time.Now().Add(1500 * time.Millisecond).UTC().Truncate(time.Microsecond)
		Expect(s.ask(http.MethodPut, pricingPath, admin, priced(map[string]any{"effective_from": soon.Format(time.RFC3339Nano)})).status).To(Equal(http.StatusOK))
		resolved := until("resolved", 1)
		at, err := time.Parse(time.RFC3339, resolved[0]["resolved_at"].(string))
		Expect(err).NotTo(HaveOccurred())
		Expect(at).To(BeTemporally(">=", soon), "not before")
	})

	It("takes the two states for a filter, and nothing else", func() {
		for _, status := range []string{"Open", "", "closed"} {
			Expect(s.ask(http.MethodGet, alertsPath+"?status="+status, admin, nil).code()).To(Equal("invalid_parameter"), status)
		}
	})
}
