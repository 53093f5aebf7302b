package reactions_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/internal/testdb"
)

var server *testdb.Server

func TestReactions(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Reactions")
}

var _ = BeforeSuite(func() {
	var err error
	server, err = testdb.Start(context.Background())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(server.Stop()).To(Succeed()) })
})

// database is a migrated database of the spec's own.
func database() *testdb.Database {
	GinkgoHelper()
	db, err := server.Create(context.Background())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(db.Drop(context.Background())).To(Succeed()) })
	return db
}

func pool(db *testdb.Database, role string) *pgxpool.Pool {
	GinkgoHelper()
	opened, err := db.Pool(context.Background(), role, 20)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(opened.Close)
	return opened
}
