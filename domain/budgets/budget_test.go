package budgets_test

import (
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/budgets"
	"github.com/archonhq/archon/internal/spec"
)

func TestBudgets(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Budgets")
}

func percent(whole int64) *budgets.Percent {
	p := budgets.Percent(whole) * budgets.OnePercent
	return &p
}

var _ = Describe("A budget", func() {
	research := budgets.Subject{Level: budgets.Department, ID: "research"}
	stream := budgets.Stream(research)
	config := func(change func(*budgets.Config)) budgets.Config {
		c := budgets.Config{Budget: 250 * domain.USD, Period: budgets.Monthly, Warn: budgets.DefaultWarn, Block: percent(100)}
		if change != nil {
			change(&c)
		}
		return c
	}
	put := func(change func(*budgets.Config)) budgets.Put {
		return budgets.Put{Subject: research, Config: config(change)}
	}
	set := func(change func(*budgets.Config)) budgets.Set {
		return budgets.Set{Subject: research, Config: config(change)}
	}
	given := func(events ...domain.Event) spec.Behaviour[budgets.State, budgets.Command] {
		return spec.Given(budgets.Decider(), events...)
	}
	named := func(c *budgets.Config) { c.Department = "Research" }

	It("is set, changed where something changes, and removed", func() {
		given().When(put(nil)).Then(domain.To{Stream: stream, Event: set(nil)})
		given(set(nil)).When(put(nil)).Then()
		more := func(c *budgets.Config) { c.Budget = 300 * domain.USD }
		given(set(nil)).When(put(more)).Then(domain.To{Stream: stream, Event: set(more)})
		warns := func(c *budgets.Config) { c.Block = nil }
		given(set(nil)).When(put(warns)).Then(domain.To{Stream: stream, Event: set(warns)})
		given(set(warns)).When(put(warns)).Then()
		given(set(nil)).When(budgets.Remove{}).Then(domain.To{Stream: stream, Event: budgets.Removed{Subject: research}})
		given(set(nil), budgets.Removed{Subject: research}).When(put(nil)).Then(domain.To{Stream: stream, Event: set(nil)})
	})

	It("can't be removed where there is none", func() {
		given().When(budgets.Remove{}).ThenRefused(domain.NotFound, "not_found")
		given(set(nil), budgets.Removed{Subject: research}).When(budgets.Remove{}).ThenRefused(domain.NotFound, "not_found")
	})

	It("keeps its label where none is sent", func() {
		given(set(named)).When(put(nil)).Then()
		other := func(c *budgets.Config) { c.Department = "R & D" }
		given(set(named)).When(put(other)).Then(domain.To{Stream: stream, Event: set(other)})
	})

	It("has an id and a stream by what it is about, which never change", func() {
		Expect(stream).To(Equal("budget-bacb8499-c6e6-555d-8811-64cfe3acaaa3"))
		Expect(stream).NotTo(Equal(budgets.Stream(budgets.Subject{Level: budgets.Agent, ID: "research"})))
	})

	DescribeTable("is refused where it makes no sense", func(field string, level budgets.Level, id string, change func(*budgets.Config)) {
		given().When(budgets.Put{Subject: budgets.Subject{Level: level, ID: id}, Config: config(change)}).ThenRefused(domain.Invalid, "validation_failed", field)
	},
		Entry("about nobody", "department_id", budgets.Department, " ", nil),
		Entry("about somebody very long", "agent_id", budgets.Agent, strings.Repeat("é", 101), nil),
		Entry("a control character", "department_id", budgets.Department, "a\x1bb", nil),
		Entry("a label that is none", "department", budgets.Department, "d", func(c *budgets.Config) { c.Department = " " }),
		Entry("a department's name for a key", "department", budgets.Key, "k", named),
		Entry("less than nothing", "budget_usd", budgets.Department, "d", func(c *budgets.Config) { c.Budget = -budgets.MicroUSD }),
		Entry("more than can be counted", "budget_usd", budgets.Department, "d", func(c *budgets.Config) { c.Budget = budgets.MaxBudget + budgets.MicroUSD }),
		Entry("finer than money", "budget_usd", budgets.Department, "d", func(c *budgets.Config) { c.Budget++ }),
		Entry("no period", "period", budgets.Department, "d", func(c *budgets.Config) { c.Period = "weekly" }),
		Entry("a warning about nothing", "warn_threshold_pct", budgets.Department, "d", func(c *budgets.Config) { c.Warn = 0 }),
		Entry("a warning far beyond", "warn_threshold_pct", budgets.Department, "d", func(c *budgets.Config) { c.Warn = 1000*budgets.OnePercent + 1 }),
		Entry("a warning that comes too late", "warn_threshold_pct", budgets.Department, "d", func(c *budgets.Config) { c.Warn = *c.Block + 1 }),
		Entry("a block at nothing", "block_threshold_pct", budgets.Department, "d", func(c *budgets.Config) { c.Block = percent(0) }),
		Entry("a block beyond all", "block_threshold_pct", budgets.Department, "d", func(c *budgets.Config) { c.Block = percent(1001) }),
		Entry("a block beyond what can be counted", "block_threshold_pct", budgets.Department, "d", func(c *budgets.Config) {
			c.Budget, c.Block = budgets.MaxBudget, percent(101)
		}),
	)

	It("warns and blocks at its thresholds, exactly", func() {
		third := config(func(c *budgets.Config) {
			c.Budget, c.Warn = 333_333*budgets.MicroUSD, 3333
			c.Block = new(budgets.Percent(6667))
		})
		Expect(third.WarnsAt().String()).To(Equal("0.1110998889"))
		limit, blocks := third.BlocksAt()
		Expect(limit.String()).To(Equal("0.2222331111"))
		Expect(blocks).To(BeTrue())
		for spent, want := range map[domain.Amount]budgets.Status{
			0: budgets.OK, third.WarnsAt() - 1: budgets.OK, third.WarnsAt(): budgets.Warned, limit - 1: budgets.Warned, limit: budgets.Blocked, 9 * domain.USD: budgets.Blocked,
		} {
			Expect(third.StatusOf(spent, false)).To(Equal(want), spent.String())
			Expect(third.StatusOf(spent, true)).To(Equal(budgets.Blocked))
		}
		warns := config(func(c *budgets.Config) { c.Block = nil })
		_, blocks = warns.BlocksAt()
		Expect(blocks).To(BeFalse())
		Expect(warns.StatusOf(1000*domain.USD, true)).To(Equal(budgets.Warned))
		largest := config(func(c *budgets.Config) { c.Budget = budgets.MaxBudget })
		limit, _ = largest.BlocksAt()
		Expect(limit).To(Equal(budgets.MaxBudget))
		nothing := config(func(c *budgets.Config) { c.Budget = 0 })
		Expect(nothing.StatusOf(0, false)).To(Equal(budgets.Blocked))
		Expect(nothing.Used(0).String()).To(Equal("100"))
	})

	It("is used up no sooner than it is", func() {
		c := config(nil)
		for spent, want := range map[domain.Amount]string{0: "0", 1: "0", 250*domain.USD - 1: "99.99", 250 * domain.USD: "100", 25 * domain.USD: "10", 1000 * domain.USD: "400", domain.USD: "0.4"} {
			Expect(c.Used(spent).String()).To(Equal(want))
		}
	})

	It("reads percent to two places", func() {
		for text, want := range map[string]budgets.Percent{"80": 8000, "99.5": 9950, "0.01": 1, "1e2": 10_000} {
			got, err := budgets.ParsePercent(text)
			Expect(err).NotTo(HaveOccurred())
			Expect(got).To(Equal(want))
		}
		for text, want := range map[string]string{"x": "must be a number of percent", "0.001": "has too many decimal places: at most 2", "1e20": "must be smaller"} {
			_, err := budgets.ParsePercent(text)
			Expect(err).To(MatchError(want))
		}
	})
})
