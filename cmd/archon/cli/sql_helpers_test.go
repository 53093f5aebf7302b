package cli_test

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// connect opens a connection that goes with the spec.
func connect(dsn string) (context.Context, *pgx.Conn) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	conn, err := pgx.Connect(ctx, dsn)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() {
		_ = conn.Close(ctx)
		cancel()
	})
	return ctx, conn
}

// one is the only value of a query.
func one[T any](ctx context.Context, conn *pgx.Conn, sql string, args ...any) T {
	GinkgoHelper()
	var value T
	Expect(conn.QueryRow(ctx, sql, args...).Scan(&value)).To(Succeed(), sql)
	return value
}

// rowsOf collects the rows of a query with one column.
func rowsOf[T any](rows pgx.Rows, err error) []T {
	GinkgoHelper()
	Expect(err).NotTo(HaveOccurred())
	collected, err := pgx.CollectRows(rows, pgx.RowTo[T])
	Expect(err).NotTo(HaveOccurred())
	return collected
}

// runtimeURL is the connection string of the runtime role: the last line that `archon dsn` prints.
func runtimeURL(place *installation) string {
	GinkgoHelper()
	stdout, stderr, code := place.run("dsn")
	Expect(code).To(Equal(0), stderr)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	return lines[len(lines)-1]
}

// inTenant works in a transaction with a tenant set, none where it is empty, and rolls it back.
func inTenant(conn *pgx.Conn, tenant string, work func(tx pgx.Tx)) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	tx, err := conn.Begin(ctx)
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(tx.Rollback(ctx)).To(Succeed()) }()
	if tenant != "" {
		_, err = tx.Exec(ctx, `select set_config('app.tenant_id', $1, true)`, tenant)
		Expect(err).NotTo(HaveOccurred())
	}
	work(tx)
}

// tenantTables lists the tables whose rows belong to tenants.
func tenantTables(s *surface) []string {
	GinkgoHelper()
	ctx, conn := s.asSuperuser()
	tables := rowsOf[string](conn.Query(ctx, `select c.table_name from information_schema.columns c join information_schema.tables t using (table_schema, table_name)
		where c.table_schema = 'public' and c.column_name = 'tenant_id' and t.table_type = 'BASE TABLE'`))
	Expect(tables).To(ContainElements("events", "chain_heads", "commands", "model_providers"))
	return tables
}

// refusedToOwner runs a statement that even the superuser is refused, who has not asked for it to be otherwise.
func (s *surface) refusedToOwner(statement, because string) {
	GinkgoHelper()
	ctx, conn := s.asSuperuser()
	_, err := conn.Exec(ctx, statement)
	Expect(err).To(MatchError(ContainSubstring(because)), statement)
}
