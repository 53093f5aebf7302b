package eventstore_test

import (
	"context"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
)

var _ = Describe("Who may do what with the log", Ordered, func() {
	const mine, theirs = "mine", "theirs"
	pools := map[string]*pgxpool.Pool{}

	BeforeAll(func(ctx context.Context) {
		db := newDatabase(ctx)
		for _, role := range []string{"archon_app", "archon_worker"} {
			pools[role] = poolOf(ctx, db, role, 2)
		}
		config, err := pgxpool.ParseConfig(db.OwnerURL())
		Expect(err).NotTo(HaveOccurred())
		pools["superuser"], err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pools["superuser"].Close)
		owner := config.Copy()
		owner.ConnConfig.RuntimeParams["role"] = "archon_owner"
		pools["archon_owner"], err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), owner)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pools["archon_owner"].Close)
		store := eventstore.New(pools["archon_app"], eventstore.Config{})
		fill(ctx, store, mine, 3)
		fill(ctx, store, theirs, 4)
	})

	// as runs SQL in a transaction in which tenant is set, or none where it is empty, and returns how many rows that concerned.
	as := func(ctx context.Context, role, tenant, sql string) (rows int64, err error) {
		GinkgoHelper()
		err = pgx.BeginFunc(ctx, pools[role], func(tx pgx.Tx) error {
			if tenant != "" {
				_, err := tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, tenant)
				Expect(err).NotTo(HaveOccurred())
			}
			tag, err := tx.Exec(ctx, sql)
			rows = tag.RowsAffected()
			return err
		})
		return rows, err
	}
	sqlState := func(err error) string {
		if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
			return refused.Code
		}
		return ""
	}
	const permissionDenied, appendOnly, policyViolation = "42501", "23000", "42501"

	DescribeTable("nobody changes what is written", func(ctx context.Context, role, state string) {
		for _, sql := range []string{
			`update events set data = data`, `update events set data = data where false`, `update events set hash = '' where position = 1`,
			`delete from events`, `delete from events where position = 1`, `truncate events`, `truncate events cascade`,
			`with gone as (delete from events returning 1) select * from gone`,
			`merge into events e using (select 1) s on e.position = 1 when matched then delete`,
			`insert into events select * from events where position = 1 on conflict (tenant_id, position) do update set data = excluded.data`,
		} {
			_, err := as(ctx, role, mine, sql)
			Expect(sqlState(err)).To(Equal(state), "%s: %v", sql, err)
		}
		Expect(as(ctx, "superuser", "", `select * from events`)).To(BeEquivalentTo(7))
	},
		Entry("requests", "archon_app", permissionDenied), Entry("workers", "archon_worker", permissionDenied),
		Entry("the owner", "archon_owner", appendOnly), Entry("an honest superuser", "superuser", appendOnly),
	)

	It("tells why it refuses", func(ctx context.Context) {
		_, err := as(ctx, "archon_owner", mine, `delete from events`)
		Expect(err).To(MatchError(ContainSubstring("events is append-only: DELETE is refused")))
	})

	DescribeTable("nobody bound by row-level security sees another tenant's rows", func(ctx context.Context, role string) {
		Expect(as(ctx, role, "", `select * from events`)).To(BeZero(), "no tenant set: no rows")
		Expect(as(ctx, role, mine, `select * from events`)).To(BeEquivalentTo(3))
		Expect(as(ctx, role, theirs, `select * from events`)).To(BeEquivalentTo(4))
		Expect(as(ctx, role, mine, `select * from events where tenant_id = 'theirs'`)).To(BeZero())
		Expect(as(ctx, role, mine, `select * from events where tenant_id = 'theirs' or true`)).To(BeEquivalentTo(3))
		Expect(as(ctx, role, "nobody", `select * from events`)).To(BeZero())
		Expect(as(ctx, role, "", `select * from commands`)).To(BeZero())
	}, Entry("requests", "archon_app"), Entry("workers", "archon_worker"), Entry("the owner", "archon_owner"))

	DescribeTable("nobody writes for another tenant", func(ctx context.Context, role string) {
		const row = ` select 'theirs', 'x-1', 't', 99, 1, event_id, command_id, occurred_at, meta, data, prev_hash, hash from events limit 1`
		_, err := as(ctx, role, mine, `insert into events`+row)
		Expect(sqlState(err)).To(Equal(policyViolation))
		_, err = as(ctx, role, mine, `insert into commands (tenant_id, command_id, first_position, last_position, fingerprint, answer, expires_at)
			values ('theirs', gen_random_uuid(), 1, 1, '', '', now())`)
		Expect(sqlState(err)).To(Equal(policyViolation))
		_, err = as(ctx, role, mine, `insert into chain_heads (tenant_id, position, hash, occurred_at) values ('new', 0, sha256(''), now())`)
		Expect(sqlState(err)).To(Equal(policyViolation))
		Expect(as(ctx, role, mine, `update chain_heads set position = 0 where tenant_id = 'theirs'`)).To(BeZero())
		_, err = as(ctx, role, mine, `update chain_heads set tenant_id = 'theirs2' where tenant_id = 'mine'`)
		Expect(sqlState(err)).To(Equal(policyViolation))
		_, err = as(ctx, role, mine, `delete from chain_heads`)
		Expect(sqlState(err)).To(Equal(permissionDenied))
	}, Entry("requests", "archon_app"), Entry("workers", "archon_worker"))

	It("lets workers see heads across tenants, and requests not", func(ctx context.Context) {
		Expect(as(ctx, "archon_worker", "", `select * from chain_heads`)).To(BeEquivalentTo(2))
		Expect(as(ctx, "archon_app", "", `select * from chain_heads`)).To(BeZero())
		Expect(as(ctx, "archon_app", mine, `select * from chain_heads`)).To(BeEquivalentTo(1))
	})

	It("holds for COPY, too", func(ctx context.Context) {
		for role, rows := range map[string]int64{"archon_app": 0, "archon_worker": 0, "superuser": 7} {
			conn, err := pools[role].Acquire(ctx)
			Expect(err).NotTo(HaveOccurred())
			tag, err := conn.Conn().PgConn().CopyTo(ctx, io.Discard, `copy events to stdout`)
			conn.Release()
			Expect(err).NotTo(HaveOccurred())
			Expect(tag.RowsAffected()).To(Equal(rows), role)
		}
		_, err := pools["archon_app"].CopyFrom(ctx, pgx.Identifier{"events"}, []string{"tenant_id"}, pgx.CopyFromRows([][]any{{theirs}}))
		Expect(sqlState(err)).To(Equal("0A000"), "COPY FROM is not to be had with row-level security")
	})

	It("does not let requests become somebody else", func(ctx context.Context) {
		for _, sql := range []string{
			`set role archon_owner`, `set session_replication_role = replica`, `alter table events disable trigger all`,
			`alter table events disable row level security`, `drop table events`, `create table public.mine (id int)`, `set session authorization postgres`,
		} {
			_, err := as(ctx, "archon_app", mine, sql)
			Expect(sqlState(err)).To(BeElementOf(permissionDenied, "22023"), sql)
		}
		_, err := as(ctx, "archon_app", mine, `set local role archon_worker`)
		Expect(err).NotTo(HaveOccurred(), "one connection string serves a node with both parts")
	})
})
