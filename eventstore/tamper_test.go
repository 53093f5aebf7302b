package eventstore_test

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/testdb"
)

const (
	postgresEpochMicros = 946_684_800_000_000
	chainLength         = 6
	byteBits            = 8
)

// crime is a chain of chainLength events that somebody with all rights tampers with.
type crime struct {
	db     *testdb.Database
	store  *eventstore.Store
	root   *pgx.Conn
	tenant string
	rows   []eventstore.Recorded
}

func newCrime(ctx context.Context) *crime {
	GinkgoHelper()
	c := &crime{db: newDatabase(ctx), tenant: "tamper"}
	c.store, c.root = open(ctx, c.db, eventstore.Config{}), superuser(ctx, c.db)
	fill(ctx, c.store, c.tenant, chainLength)
	var err error
	c.rows, err = c.store.Read(ctx, c.tenant, 0, chainLength)
	Expect(err).NotTo(HaveOccurred())
	Expect(c.rows).To(HaveLen(chainLength))
	c.do(ctx, `create table kept as table events`)
	c.do(ctx, `create table kept_heads as table chain_heads`)
	return c
}

// do is the tampering.
func (c *crime) do(ctx context.Context, sql string, args ...any) {
	GinkgoHelper()
	_, err := c.root.Exec(ctx, sql, args...)
	Expect(err).NotTo(HaveOccurred(), sql)
}

// undo puts everything back.
func (c *crime) undo(ctx context.Context) {
	GinkgoHelper()
	c.do(ctx, `with gone as (delete from events) select`)
	c.do(ctx, `insert into events select * from kept`)
	c.do(ctx, `delete from chain_heads`)
	c.do(ctx, `insert into chain_heads select * from kept_heads`)
}

func (c *crime) verify(ctx context.Context, opts eventstore.VerifyOptions) eventstore.Report {
	GinkgoHelper()
	report, err := c.store.Verify(ctx, c.tenant, opts)
	Expect(err).NotTo(HaveOccurred())
	return report
}

// expectBad is the verdict on the whole chain.
func (c *crime) expectBad(ctx context.Context, position int64, words string) {
	GinkgoHelper()
	report := c.verify(ctx, eventstore.VerifyOptions{})
	Expect(report.OK).To(BeFalse())
	Expect(report.FirstBadPosition).To(Equal(position), report.Reason)
	Expect(report.Reason).To(ContainSubstring(words))
}

// rewrite writes a row anew, with the hash that its columns have.
func (c *crime) rewrite(ctx context.Context, row eventstore.Recorded) eventstore.Recorded {
	GinkgoHelper()
	sum := eventstore.Hash(&row)
	row.Hash = sum[:]
	c.do(ctx, `delete from events where tenant_id = $1 and position = $2`, row.Tenant, row.Position)
	c.insert(ctx, row)
	return row
}

func (c *crime) insert(ctx context.Context, row eventstore.Recorded) {
	GinkgoHelper()
	c.do(ctx, `insert into events (tenant_id, stream, type, position, version, event_id, command_id, occurred_at, meta, data, prev_hash, hash)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, row.Tenant, row.Stream, row.Type, row.Position, row.Version, row.EventID,
		row.CommandID, row.Time(), row.Meta, row.Data, row.PrevHash, row.Hash)
}

func flip(b []byte, i int, mask byte) []byte {
	flipped := append([]byte(nil), b...)
	flipped[i] ^= mask
	return flipped
}

// flips are all changes of one byte of a column of a row, as values to store. Where a bit can't be any, because the column is
// text or its key would collide, another bit of that byte is taken.
func flips(row *eventstore.Recorded, column string) []any {
	var values []any
	each := func(b []byte, value func(flipped []byte) any) {
		for i := range b {
			values = append(values, value(flip(b, i, 1<<(i%byteBits))))
		}
	}
	asBytes := func(flipped []byte) any { return flipped }
	text := func(s string) {
		for i := range len(s) {
			values = append(values, string(flip([]byte(s), i, 1)))
		}
	}
	id := func(u uuid.UUID) { each(u[:], func(flipped []byte) any { return uuid.UUID(flipped) }) }
	number := func(n int64) {
		for i := range byteBits {
			values = append(values, n^(1<<(byteBits*i+6)))
		}
	}
	switch column {
	case "tenant_id":
		text(row.Tenant)
	case "stream":
		text(row.Stream)
	case "type":
		text(row.Type)
	case "position":
		number(row.Position)
	case "version":
		number(row.Version)
	case "event_id":
		id(row.EventID)
	case "command_id":
		id(row.CommandID)
	case "occurred_at":
		for i := range byteBits {
			values = append(values, time.UnixMicro((row.OccurredAt-postgresEpochMicros)^(1<<(byteBits*i))+postgresEpochMicros).UTC())
		}
	case "meta":
		each(row.Meta, asBytes)
	case "data":
		each(row.Data, asBytes)
	case "prev_hash":
		each(row.PrevHash, asBytes)
	case "hash":
		each(row.Hash, asBytes)
	}
	return values
}

var _ = Describe("Verify names the first bad position", Ordered, func() {
	var c *crime

	BeforeAll(func(ctx context.Context) { c = newCrime(ctx) })
	AfterEach(func(ctx context.Context) { c.undo(ctx) })

	DescribeTable("where any byte of a column is changed", func(ctx context.Context, column string) {
		for _, p := range []int64{1, 3, chainLength} {
			values := flips(&c.rows[p-1], column)
			Expect(len(values)).To(BeNumerically(">=", 6))
			for i, value := range values {
				c.do(ctx, fmt.Sprintf(`update events set %s = $1 where tenant_id = $2 and position = $3`, column), value, c.tenant, p)
				report := c.verify(ctx, eventstore.VerifyOptions{})
				Expect(report.FirstBadPosition).To(Equal(p), "%s of %d, byte %d: %s", column, p, i, report.Reason)
				Expect(report.OK).To(BeFalse())
				Expect(report.Reason).NotTo(BeEmpty())
				c.undo(ctx)
			}
		}
		Expect(c.verify(ctx, eventstore.VerifyOptions{}).OK).To(BeTrue(), "after everything was put back")
	},
		Entry("tenant_id", "tenant_id"), Entry("stream", "stream"), Entry("type", "type"), Entry("position", "position"),
		Entry("version", "version"), Entry("event_id", "event_id"), Entry("command_id", "command_id"),
		Entry("occurred_at", "occurred_at"), Entry("meta", "meta"), Entry("data", "data"), Entry("prev_hash", "prev_hash"),
		Entry("hash", "hash"),
	)

	It("is unharmed by what the session of the reader is set to", func(ctx context.Context) {
		c.do(ctx, fmt.Sprintf(`alter database %s set datestyle to 'SQL, DMY'`, c.db.Name))
		c.do(ctx, fmt.Sprintf(`alter database %s set timezone to 'Asia/Kathmandu'`, c.db.Name))
		c.do(ctx, fmt.Sprintf(`alter database %s set bytea_output to 'escape'`, c.db.Name))
		expectIntact(ctx, open(ctx, c.db, eventstore.Config{}), c.tenant)
	})

	DescribeTable("where rows are deleted", func(ctx context.Context, condition string, position int64) {
		c.do(ctx, `delete from events where `+condition)
		c.expectBad(ctx, position, fmt.Sprintf("position %d is missing", position))
	},
		Entry("the first", "position = 1", int64(1)),
		Entry("one in the middle", "position = 4", int64(4)),
		Entry("two", "position in (3, 5)", int64(3)),
		Entry("the last, with the head left", "position = 6", int64(6)),
		Entry("the tail, with the head left", "position > 3", int64(4)),
		Entry("all, with the head left", "true", int64(1)),
	)

	DescribeTable("where two rows are swapped", func(ctx context.Context, a, b int64) {
		c.do(ctx, `update events set position = -1 where position = $1`, a)
		c.do(ctx, `update events set position = $1 where position = $2`, a, b)
		c.do(ctx, `update events set position = $1 where position = -1`, b)
		c.expectBad(ctx, a, "")
	},
		Entry("neighbours", int64(3), int64(4)), Entry("far apart", int64(2), int64(5)), Entry("the ends", int64(1), int64(6)),
	)

	It("where a row was deleted and the rest moved up", func(ctx context.Context) {
		c.do(ctx, `delete from events where position = 3`)
		c.do(ctx, `update events set position = -position where position > 3`)
		c.do(ctx, `update events set position = -position - 1 where position < 0`)
		c.do(ctx, `update chain_heads set position = position - 1`)
		c.expectBad(ctx, 3, "changed or misplaced")
	})

	Describe("with a row inserted in the middle", func() {
		var intruder eventstore.Recorded
		BeforeEach(func(ctx context.Context) {
			c.do(ctx, `update events set position = -position where position >= 4`)
			c.do(ctx, `update events set position = -position + 1 where position < 0`)
			c.do(ctx, `update chain_heads set position = position + 1`)
			intruder = c.rows[3]
			intruder.Stream, intruder.EventID = "intruder-1", uuid.New()
		})
		It("with a hash of its own", func(ctx context.Context) {
			c.rewrite(ctx, intruder)
			c.expectBad(ctx, 4, "was inserted")
		})
		It("without", func(ctx context.Context) {
			c.insert(ctx, intruder)
			c.expectBad(ctx, 4, "its hash is not that of its columns")
		})
	})

	It("where rows follow the head", func(ctx context.Context) {
		row := c.rows[chainLength-1]
		row.Position, row.PrevHash, row.Stream = chainLength+1, row.Hash, "later-1"
		c.rewrite(ctx, row)
		c.expectBad(ctx, chainLength+1, "the head is at 6")
	})

	DescribeTable("where a row was rewritten together with its hash", func(ctx context.Context, position int64) {
		row := c.rows[position-1]
		row.Data = []byte(`{"n":2}`)
		c.rewrite(ctx, row)
		c.expectBad(ctx, position, "was changed")
	}, Entry("the first", int64(1)), Entry("the second", int64(2)), Entry("one in the middle", int64(4)), Entry("the one before the last", int64(5)),
		Entry("the last", int64(6)))

	DescribeTable("where a row was rewritten together with its hash and its prev_hash", func(ctx context.Context, position int64) {
		row := c.rows[position-1]
		row.PrevHash = flip(row.PrevHash, 0, 1)
		c.rewrite(ctx, row)
		c.expectBad(ctx, position, "was changed together with its hash")
	}, Entry("the first", int64(1)), Entry("the second", int64(2)), Entry("one in the middle", int64(4)), Entry("the one before the last", int64(5)),
		Entry("the last", int64(6)))

	It("where the row was lost that told a rewritten one from its neighbour", func(ctx context.Context) {
		row := c.rows[2]
		row.Data = []byte(`{"n":2}`)
		c.rewrite(ctx, row)
		c.do(ctx, `delete from events where position = 5`)
		c.expectBad(ctx, 3, "position 3 was changed together with its hash")
	})

	It("where everything from a row on was rewritten, but the head was forgotten", func(ctx context.Context) {
		prev := c.rows[1].Hash
		for _, row := range c.rows[2:] {
			row.Data, row.PrevHash = []byte(`{"n":3}`), prev
			prev = c.rewrite(ctx, row).Hash
		}
		c.expectBad(ctx, chainLength, "the head names another hash") // nothing within the log tells where it began
	})

	It("where time goes back in rows that are consistent otherwise", func(ctx context.Context) {
		prev := c.rows[2].Hash
		for i, row := range c.rows[3:] {
			row.PrevHash = prev
			if i == 1 {
				row.OccurredAt -= 3_600_000_000
			}
			prev = c.rewrite(ctx, row).Hash
		}
		c.do(ctx, `update chain_heads set hash = $1`, prev)
		c.expectBad(ctx, 5, "time goes back at position 5")
	})

	DescribeTable("where the head was changed", func(ctx context.Context, sql string, position int64, words string) {
		c.do(ctx, sql)
		c.expectBad(ctx, position, words)
	},
		Entry("forward", `update chain_heads set position = 9`, int64(7), "position 7 is missing: the head is at 9"),
		Entry("back", `update chain_heads set position = 2`, int64(3), "position 3 is not in the chain: the head is at 2"),
		Entry("to the beginning", `update chain_heads set position = 0`, int64(1), "the head is at 0"),
		Entry("its hash", `update chain_heads set hash = sha256('x')`, int64(6), "the head names another hash"),
		Entry("its time", `update chain_heads set occurred_at = occurred_at + interval '1 microsecond'`, int64(6), "names another time"),
		Entry("its time, without end", `update chain_heads set occurred_at = 'infinity'`, int64(6), "names another time"),
		Entry("removed", `delete from chain_heads`, int64(7), "the head row is missing"),
		Entry("its tenant", `update chain_heads set tenant_id = 'other'`, int64(7), "the head row is missing"),
	)

	DescribeTable("where a hash has another length", func(ctx context.Context, sql string) {
		c.do(ctx, sql)
		c.expectBad(ctx, 4, "position 4 was changed")
	},
		Entry("hash, shorter", `update events set hash = substr(hash, 1, 31) where position = 4`),
		Entry("hash, longer", `update events set hash = hash || '\x00' where position = 4`),
		Entry("hash, empty", `update events set hash = '' where position = 4`),
		Entry("prev_hash, shorter", `update events set prev_hash = substr(prev_hash, 1, 31) where position = 4`),
		Entry("prev_hash, longer", `update events set prev_hash = prev_hash || '\x00' where position = 4`),
		Entry("prev_hash, empty", `update events set prev_hash = '' where position = 4`),
		Entry("a byte moved from meta to data", `update events set meta = substr(meta, 1, length(meta) - 1), data = substr(meta, length(meta)) || data where position = 4`),
		Entry("a byte moved from prev_hash to data", `update events set data = data || substr(prev_hash, 1, 1), prev_hash = substr(prev_hash, 2) where position = 4`),
	)

	DescribeTable("where a row stands where no chain is", func(ctx context.Context, position int64) {
		row := c.rows[3]
		row.Position, row.Stream = position, "stray-1"
		c.rewrite(ctx, row)
		c.expectBad(ctx, 1, fmt.Sprintf("1 rows have positions that no chain has, one of them %d", position))
		c.do(ctx, `delete from events where position = 5`)
		c.expectBad(ctx, 5, "position 5 is missing; 1 rows have positions that no chain has")
	}, Entry("0", int64(0)), Entry("-1", int64(-1)), Entry("the lowest number", int64(-1<<63)))

	It("in the tenant that got a row of another's", func(ctx context.Context) {
		const other = "tamper2"
		fill(ctx, c.store, other, 2)
		c.do(ctx, `update events set tenant_id = $1 where tenant_id = $2 and position = 5`, other, c.tenant)
		c.expectBad(ctx, 5, "position 5 is missing")
		report, err := c.store.Verify(ctx, other, eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.FirstBadPosition).To(BeEquivalentTo(3), report.Reason)
		c.do(ctx, `update events set position = 3 where tenant_id = $1 and position = 5`, other)
		report, err = c.store.Verify(ctx, other, eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.FirstBadPosition).To(BeEquivalentTo(3), report.Reason)
	})

	Describe("in a range", func() {
		It("checks the rows of the range only", func(ctx context.Context) {
			Expect(c.verify(ctx, eventstore.VerifyOptions{From: 3, To: 5}).Checked).To(BeEquivalentTo(3))
			Expect(c.verify(ctx, eventstore.VerifyOptions{From: 3}).Checked).To(BeEquivalentTo(4))
			Expect(c.verify(ctx, eventstore.VerifyOptions{To: 2}).Checked).To(BeEquivalentTo(2))
			Expect(c.verify(ctx, eventstore.VerifyOptions{To: 100}).Checked).To(BeEquivalentTo(6))
			Expect(c.verify(ctx, eventstore.VerifyOptions{From: 7}).Checked).To(BeEquivalentTo(0))
		})
		DescribeTable("sees", func(ctx context.Context, from, to, touched, bad int64) {
			c.do(ctx, `update events set data = data || ' ' where position = $1`, touched)
			report := c.verify(ctx, eventstore.VerifyOptions{From: from, To: to})
			Expect(report.FirstBadPosition).To(Equal(bad), report.Reason)
			Expect(report.OK).To(Equal(bad == 0))
		},
			Entry("a changed row inside", int64(3), int64(5), int64(4), int64(4)),
			Entry("its first", int64(3), int64(5), int64(3), int64(3)),
			Entry("its last", int64(3), int64(5), int64(5), int64(5)),
			Entry("nothing before", int64(3), int64(5), int64(2), int64(0)),
			Entry("nothing behind", int64(3), int64(5), int64(6), int64(0)),
		)
		DescribeTable("misses", func(ctx context.Context, from, to, deleted, bad int64) {
			c.do(ctx, `delete from events where position = $1`, deleted)
			report := c.verify(ctx, eventstore.VerifyOptions{From: from, To: to})
			Expect(report.FirstBadPosition).To(Equal(bad), report.Reason)
		},
			Entry("its anchor", int64(3), int64(5), int64(2), int64(2)),
			Entry("its first", int64(3), int64(5), int64(3), int64(3)),
			Entry("its last", int64(3), int64(5), int64(5), int64(5)),
			Entry("not the row behind it", int64(3), int64(5), int64(6), int64(0)),
			Entry("the last row", int64(3), int64(0), int64(6), int64(6)),
		)
		DescribeTable("sees a row that was rewritten with its hash", func(ctx context.Context, from, to, position, bad int64) {
			row := c.rows[position-1]
			row.Data = []byte(`{"n":2}`)
			c.rewrite(ctx, row)
			report := c.verify(ctx, eventstore.VerifyOptions{From: from, To: to})
			Expect(report.FirstBadPosition).To(Equal(bad), report.Reason)
		},
			Entry("the anchor", int64(3), int64(5), int64(2), int64(2)),
			Entry("the anchor of one row", int64(3), int64(3), int64(2), int64(2)),
			Entry("the first", int64(3), int64(5), int64(3), int64(3)),
			Entry("the last", int64(3), int64(5), int64(5), int64(5)),
			Entry("the last before the last of all", int64(3), int64(4), int64(4), int64(4)),
			Entry("not the one behind", int64(3), int64(4), int64(5), int64(0)),
		)
		It("sees that its last row was rewritten with both hashes", func(ctx context.Context) {
			row := c.rows[4]
			row.PrevHash = flip(row.PrevHash, 0, 1)
			c.rewrite(ctx, row)
			Expect(c.verify(ctx, eventstore.VerifyOptions{From: 2, To: 5}).FirstBadPosition).To(BeEquivalentTo(5))
		})
		It("has lost its only witness", func(ctx context.Context) {
			row := c.rows[3]
			row.Data = []byte(`{"n":2}`)
			c.rewrite(ctx, row)
			c.do(ctx, `delete from events where position = 6`)
			Expect(c.verify(ctx, eventstore.VerifyOptions{From: 2, To: 5}).FirstBadPosition).To(BeEquivalentTo(4))
			c.do(ctx, `update events set data = '' where position = 6`)
			Expect(c.verify(ctx, eventstore.VerifyOptions{From: 2, To: 5}).FirstBadPosition).To(BeEquivalentTo(4))
		})
		DescribeTable("refuses", func(ctx context.Context, from, to int64) {
			_, err := c.store.Verify(ctx, c.tenant, eventstore.VerifyOptions{From: from, To: to})
			Expect(err).To(MatchError(eventstore.ErrRange))
		},
			Entry("a negative from", int64(-1), int64(0)), Entry("a negative to", int64(0), int64(-1)),
			Entry("a reversed range", int64(4), int64(3)), Entry("one behind the head", int64(8), int64(0)),
		)
	})
})

var _ = Describe("Verify without the constraints of the schema", Ordered, func() {
	var c *crime
	BeforeAll(func(ctx context.Context) {
		c = newCrime(ctx)
		c.do(ctx, `alter table events drop constraint events_position_key, drop constraint events_version_key`)
		for _, column := range []string{"tenant_id", "stream", "type", "position", "version", "event_id", "command_id", "occurred_at", "meta", "data", "prev_hash", "hash"} {
			c.do(ctx, fmt.Sprintf(`alter table events alter column %s drop not null`, column))
		}
	})
	AfterEach(func(ctx context.Context) { c.undo(ctx) })

	It("still reads in order", func(ctx context.Context) { expectIntact(ctx, c.store, c.tenant) })

	DescribeTable("names a position that stands twice", func(ctx context.Context, position int64) {
		c.do(ctx, `insert into events select * from kept where position = $1`, position)
		c.expectBad(ctx, position, "stands twice")
	}, Entry("the first", int64(1)), Entry("one in the middle", int64(3)), Entry("the last", int64(6)))

	It("names the position onto which another was moved", func(ctx context.Context) {
		c.do(ctx, `update events set position = 2 where position = 5`)
		c.expectBad(ctx, 2, "position 2")
	})

	It("names an anchor that stands twice", func(ctx context.Context) {
		c.do(ctx, `insert into events select * from kept where position = 2`)
		Expect(c.verify(ctx, eventstore.VerifyOptions{From: 3}).FirstBadPosition).To(BeEquivalentTo(2))
	})

	DescribeTable("names a row with a null", func(ctx context.Context, column string) {
		c.do(ctx, fmt.Sprintf(`update events set %s = null where position = 3`, column))
		c.expectBad(ctx, 3, "")
	}, Entry(nil, "tenant_id"), Entry(nil, "stream"), Entry(nil, "type"), Entry(nil, "position"), Entry(nil, "version"), Entry(nil, "event_id"),
		Entry(nil, "command_id"), Entry(nil, "occurred_at"), Entry(nil, "meta"), Entry(nil, "data"), Entry(nil, "prev_hash"), Entry(nil, "hash"))

	It("tells null from empty", func(ctx context.Context) {
		_, err := c.store.Append(ctx, eventstore.Append{Tenant: "empty", Events: []eventstore.NewEvent{{Stream: "a-1", Type: "t.v1"}}})
		Expect(err).NotTo(HaveOccurred())
		expectIntact(ctx, c.store, "empty")
		c.do(ctx, `update events set meta = null where tenant_id = 'empty'`)
		report, err := c.store.Verify(ctx, "empty", eventstore.VerifyOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.FirstBadPosition).To(BeEquivalentTo(1))
		Expect(report.Reason).To(ContainSubstring("null"))
	})
})
