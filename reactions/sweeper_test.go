package reactions_test

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/secrets"
	"github.com/archonhq/archon/reactions"
)

var _ = Describe("the sweeper", Label("postgres"), func() {
	var owner *pgx.Conn
	var store secrets.Store
	var sweeper *reactions.Sweeper
	var registered map[string]bool
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

	BeforeEach(func(ctx context.Context) {
		db := database()
		var err error
		owner, err = pgx.Connect(ctx, db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(owner.Close)
		kept, err := secrets.OpenEmbedded(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(kept.Close)
		store, registered = kept, map[string]bool{}
		sweeper = &reactions.Sweeper{
			Pool: pool(db, "archon_worker"), Secrets: store, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(GinkgoWriter, nil)),
			Registered: func(_ context.Context, tenant, id string) (bool, error) { return registered[tenant+"/"+id], nil },
		}
	})

	// secret keeps one for a provider whose id was made some time ago.
	secret := func(ctx context.Context, tenant string, age time.Duration) string {
		GinkgoHelper()
		id := uuid.Must(uuid.NewV7())
		var millis [8]byte
		binary.BigEndian.PutUint64(millis[:], uint64(now.Add(-age).UnixMilli()))
		copy(id[:6], millis[2:])
		_, err := store.Put(ctx, secrets.ProviderPath(tenant, id.String()), map[string]string{"api_key": "k"})
		Expect(err).NotTo(HaveOccurred())
		return id.String()
	}
	kept := func(ctx context.Context, tenant, id string) bool {
		GinkgoHelper()
		_, _, err := store.Get(ctx, secrets.ProviderPath(tenant, id), 0)
		if errors.Is(err, secrets.ErrNotFound) {
			return false
		}
		Expect(err).NotTo(HaveOccurred())
		return true
	}
	command := func(ctx context.Context, left string) {
		GinkgoHelper()
		_, err := owner.Exec(ctx, `insert into commands (tenant_id, command_id, first_position, last_position, fingerprint, answer, expires_at)
			values ('acme', gen_random_uuid(), 1, 1, '', '', now() + $1::text::interval)`, left)
		Expect(err).NotTo(HaveOccurred())
	}
	commands := func(ctx context.Context) (n int) {
		GinkgoHelper()
		Expect(owner.QueryRow(ctx, `select count(*) from commands`).Scan(&n)).To(Succeed())
		return n
	}

	It("destroys the secrets that no provider was ever registered for, of every tenant, and no others", func(ctx context.Context) {
		Expect(sweeper.Sweep(ctx)).To(Succeed(), "nothing is there")
		orphan, others := secret(ctx, "acme", 2*time.Hour), secret(ctx, "globex", 300*24*time.Hour)
		provider, young := secret(ctx, "acme", 2*time.Hour), secret(ctx, "acme", 59*time.Minute)
		registered["acme/"+provider] = true
		registered["globex/"+orphan] = true // another tenant's provider is not this one's
		random := uuid.NewString()
		for _, path := range []string{secrets.ProviderPath("acme", random), "tenants/acme/providers/by-hand", "tenants/acme/keys/" + orphan, "deployment/key", "tenants/loose"} {
			_, err := store.Put(ctx, path, map[string]string{"v": "1"})
			Expect(err).NotTo(HaveOccurred())
		}
		for range 2 {
			Expect(sweeper.Sweep(ctx)).To(Succeed())
			Expect(kept(ctx, "acme", orphan)).To(BeFalse())
			Expect(kept(ctx, "globex", others)).To(BeFalse())
			Expect(kept(ctx, "acme", provider)).To(BeTrue())
			Expect(kept(ctx, "acme", young)).To(BeTrue())
			Expect(kept(ctx, "acme", random)).To(BeTrue(), "its age is not known")
			Expect(kept(ctx, "acme", "by-hand")).To(BeTrue())
			for _, path := range []string{"tenants/acme/keys/" + orphan, "deployment/key", "tenants/loose"} {
				_, _, err := store.Get(ctx, path, 0)
				Expect(err).NotTo(HaveOccurred(), path)
			}
		}
	})

	It("forgets the commands that have expired", func(ctx context.Context) {
		command(ctx, "-1 second")
		command(ctx, "1 hour")
		Expect(sweeper.Sweep(ctx)).To(Succeed())
		Expect(commands(ctx)).To(Equal(1))
	})

	It("makes the ledger's partitions for a year to come", func(ctx context.Context) {
		Expect(sweeper.Sweep(ctx)).To(Succeed())
		var months []string
		Expect(owner.QueryRow(ctx, `select array_agg(relname::text order by relname) from pg_class
			where relname between 'token_ledger_2028_01' and 'token_ledger_9999_12' and relkind = 'r'`).Scan(&months)).To(Succeed())
		Expect(months).To(HaveLen(13))
		Expect(months[0]).To(Equal("token_ledger_2030_01"))
		Expect(months[12]).To(Equal("token_ledger_2031_01"))
	})

	It("leaves the work to the node that is at it", func(ctx context.Context) {
		command(ctx, "-1 second")
		orphan := secret(ctx, "acme", 2*time.Hour)
		asked, release := make(chan struct{}), make(chan struct{})
		first := *sweeper
		first.Registered = func(context.Context, string, string) (bool, error) {
			close(asked)
			<-release
			return false, nil
		}
		done := make(chan error, 1)
		go func() { done <- first.Sweep(context.WithoutCancel(ctx)) }()
		Eventually(asked, bound).Should(BeClosed())
		Expect(sweeper.Sweep(ctx)).To(Succeed())
		Expect(kept(ctx, "acme", orphan)).To(BeTrue(), "the second one must not touch it")
		Expect(commands(ctx)).To(Equal(1))
		close(release)
		Eventually(done, bound).Should(Receive(BeNil()))
		Expect(kept(ctx, "acme", orphan)).To(BeFalse())
		Expect(commands(ctx)).To(BeZero())
	})

	It("destroys nothing where it can't tell what is registered", func(ctx context.Context) {
		orphan := secret(ctx, "acme", 2*time.Hour)
		away := errors.New("the log is away")
		sweeper.Registered = func(context.Context, string, string) (bool, error) { return false, away }
		Expect(sweeper.Sweep(ctx)).To(MatchError(away))
		Expect(kept(ctx, "acme", orphan)).To(BeTrue())
		Expect(store.Close()).To(Succeed())
		Expect(sweeper.Sweep(ctx)).To(MatchError(secrets.ErrUnavailable))
	})

	It("ends when it is told to", func() {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- sweeper.Run(ctx) }()
		cancel()
		Eventually(ended, bound).Should(Receive(BeNil()))
	})
})
