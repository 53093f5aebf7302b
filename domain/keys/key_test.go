package keys_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/keys"
	"github.com/archonhq/archon/internal/spec"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Keys")
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func configured(change ...func(*keys.Config)) keys.Config {
	config := keys.Config{Name: "CI", Models: []string{"gpt-4o"}}
	for _, c := range change {
		c(&config)
	}
	return config
}

var _ = Describe("A key", func() {
	created := keys.Created{KeyID: keyID, Config: configured(), SecretHash: keys.Hash("s"), Hint: "s", CreatedBy: "ada"}
	create := func(config keys.Config) keys.Create {
		return keys.Create{KeyID: keyID, Config: config, SecretHash: keys.Hash("s"), Hint: "s", CreatedBy: "ada", Now: noon}
	}
	given := func(events ...domain.Event) spec.Behaviour[keys.Key, keys.Command] {
		return spec.Given(keys.Decider(), events...)
	}

	It("is created with the hash of its secret, in a stream of its own", func() {
		given().When(create(configured())).Then(domain.To{Stream: "key-" + keyID, Event: created})
	})

	It("is stored without space around its name, with a list that is not null, and times of microseconds", func() {
		at := noon.Add(time.Hour).In(time.FixedZone("", 3600)).Add(1500 * time.Nanosecond)
		stored := created
		until := noon.Add(time.Hour + time.Microsecond)
		stored.Config = keys.Config{Name: "CI", Models: []string{}, ExpiresAt: &until}
		given().When(create(keys.Config{Name: "  CI\t", ExpiresAt: &at})).Then(domain.To{Stream: "key-" + keyID, Event: stored})
	})

	DescribeTable("is refused with a configuration that makes no sense", func(field string, change func(*keys.Config)) {
		given().When(create(configured(change))).ThenRefused(domain.Invalid, "validation_failed", field)
	},
		Entry("no name", "name", func(c *keys.Config) { c.Name = " \t " }),
		Entry("a long name", "name", func(c *keys.Config) { c.Name = strings.Repeat("é", 201) }),
		Entry("a control character", "name", func(c *keys.Config) { c.Name = "a\x1bb" }),
		Entry("an empty department", "department_id", func(c *keys.Config) { c.DepartmentID = new(string) }),
		Entry("an empty model", "models", func(c *keys.Config) { c.Models = []string{" "} }),
		Entry("a model twice", "models", func(c *keys.Config) { c.Models = []string{"a", "a"} }),
		Entry("a * in the middle", "models", func(c *keys.Config) { c.Models = []string{"gpt-*-mini"} }),
		Entry("two of them", "models", func(c *keys.Config) { c.Models = []string{"gpt-**"} }),
		Entry("a long model", "models", func(c *keys.Config) { c.Models = []string{strings.Repeat("m", 201)} }),
		Entry("a model with a control character", "models", func(c *keys.Config) { c.Models = []string{"m\x00"} }),
		Entry("many models", "models", func(c *keys.Config) { c.Models = make([]string, 1001) }),
		Entry("a rate of zero", "rate_limit_rpm", func(c *keys.Config) { c.RateLimitRPM = new(int64) }),
		Entry("a rate beyond counting", "rate_limit_rpm", func(c *keys.Config) { c.RateLimitRPM = new(int64(1_000_000_001)) }),
		Entry("a negative budget", "budget_usd", func(c *keys.Config) { c.BudgetNanoUSD = new(int64(-1)) }),
		Entry("a budget beyond counting", "budget_usd", func(c *keys.Config) { c.BudgetNanoUSD = new(int64(9_007_199_000_000_001)) }),
		Entry("an end that has come", "expires_at", func(c *keys.Config) { c.ExpiresAt = new(noon) }),
		Entry("an end beyond writing", "expires_at", func(c *keys.Config) { c.ExpiresAt = new(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)) }),
	)

	It("may have a budget of nothing, and one of as much as can be counted", func() {
		for _, budget := range []int64{0, 9_007_199_000_000_000} {
			stored := created
			stored.BudgetNanoUSD = &budget
			given().When(create(configured(func(c *keys.Config) { c.BudgetNanoUSD = &budget }))).Then(domain.To{Stream: "key-" + keyID, Event: stored})
		}
	})

	It("is revoked once; to do it again changes nothing", func() {
		given(created).When(keys.Revoke{}).Then(domain.To{Stream: "key-" + keyID, Event: keys.Revoked{KeyID: keyID}})
		given(created, keys.Revoked{KeyID: keyID}).When(keys.Revoke{}).Then()
		given().When(keys.Revoke{}).ThenRefused(domain.NotFound, "not_found")
	})

	It("is active until the moment of its end, and revoked for ever", func() {
		end := noon.Add(time.Hour)
		ends := created
		ends.ExpiresAt = &end
		key := keys.Decider().Fold(ends)
		Expect(key.Status(end.Add(-time.Microsecond))).To(Equal(keys.StatusActive))
		Expect(key.Status(end)).To(Equal(keys.StatusExpired))
		revoked := keys.Decider().Fold(ends, keys.Revoked{KeyID: keyID})
		Expect(revoked.Status(noon)).To(Equal(keys.StatusRevoked))
		Expect(revoked.Status(end)).To(Equal(keys.StatusRevoked))
		Expect(keys.Decider().Fold(created).Status(noon.AddDate(1000, 0, 0))).To(Equal(keys.StatusActive))
	})

	It("is opened by its secret alone", func() {
		key := keys.Decider().Fold(created)
		Expect(key.Matches("s")).To(BeTrue())
		for _, other := range []string{"", "S", "s ", "t"} {
			Expect(key.Matches(other)).To(BeFalse(), other)
		}
		Expect(keys.Key{}.Matches("")).To(BeFalse(), "no key at all")
	})

	DescribeTable("allows models", func(models, allowed, refused []string) {
		key := keys.Key{Config: keys.Config{Models: models}}
		for _, model := range allowed {
			Expect(key.AllowsModel(model)).To(BeTrue(), model)
		}
		for _, model := range refused {
			Expect(key.AllowsModel(model)).To(BeFalse(), model)
		}
	},
		Entry("all, where it names none", nil, []string{"gpt-4o", ""}, nil),
		Entry("by exact name", []string{"gpt-4o"}, []string{"gpt-4o"}, []string{"gpt-4o-mini", "gpt-4", "GPT-4o", ""}),
		Entry("by prefix", []string{"claude-*", "o3"}, []string{"claude-", "claude-opus-5", "o3"}, []string{"claude", "x-claude-opus", "o3-mini"}),
		Entry("all, by the shortest prefix", []string{"*"}, []string{"anything", ""}, nil),
	)
})
