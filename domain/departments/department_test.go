package departments_test

import (
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/departments"
	"github.com/archonhq/archon/internal/spec"
)

func TestDepartments(t *testing.T) {
	t.Parallel()
	RegisterFailHandler(Fail)
	RunSpecs(t, "Departments")
}

var _ = Describe("A department", func() {
	created := departments.Created{DepartmentID: "support", Name: "Support"}
	claimed := departments.NameClaimed{DepartmentID: "support", Name: "Support"}
	given := func(events ...domain.Event) spec.Behaviour[departments.State, departments.Command] {
		return spec.Given(departments.Decider(), events...)
	}
	own := departments.Stream("support")

	It("is created with a name that it claims", func() {
		given().When(departments.Create{DepartmentID: "support", Name: " Support "}).Then(
			domain.To{Stream: "department-support", Event: created},
			domain.To{Stream: departments.NameStream("Support"), Event: claimed})
	})

	It("is not created under an id that there is", func() {
		given(created).When(departments.Create{DepartmentID: "support", Name: "Other"}).ThenRefused(domain.Conflict, "id_taken")
	})

	It("does not get a name that another one has, in whatever case", func() {
		theirs := departments.NameClaimed{DepartmentID: "sales", Name: "Straße  Öl"}
		for _, name := range []string{"Straße Öl", "STRAßE ÖL", " straße  öl", "ſtraße öL"} {
			given(theirs).When(departments.Create{DepartmentID: "support", Name: name}).ThenRefused(domain.Conflict, "name_taken")
			given(created, claimed, theirs).When(departments.Rename{Name: name}).ThenRefused(domain.Conflict, "name_taken")
			Expect(departments.NameStream(name)).To(Equal(departments.NameStream("Straße Öl")))
		}
		released := departments.NameReleased{DepartmentID: "sales", Name: "Straße Öl"}
		given(theirs, released).When(departments.Create{DepartmentID: "support", Name: "Support"}).Then(
			domain.To{Stream: own, Event: created}, domain.To{Stream: departments.NameStream("Support"), Event: claimed})
		given(created, claimed, theirs, released).When(departments.Rename{Name: "straße öl"}).Then(
			domain.To{Stream: own, Event: departments.Renamed{DepartmentID: "support", Name: "straße öl", Was: "Support"}},
			domain.To{Stream: departments.NameStream("straße öl"), Event: departments.NameClaimed{DepartmentID: "support", Name: "straße öl"}},
			domain.To{Stream: departments.NameStream("Support"), Event: departments.NameReleased{DepartmentID: "support", Name: "Support"}})
	})

	It("keeps its claim where only the case of its name changes, and does nothing where nothing changes", func() {
		given(created, claimed).When(departments.Rename{Name: "SUPPORT"}).Then(
			domain.To{Stream: own, Event: departments.Renamed{DepartmentID: "support", Name: "SUPPORT", Was: "Support"}})
		given(created, claimed).When(departments.Rename{Name: " Support"}).Then()
	})

	It("that is not there can't be renamed", func() {
		given().When(departments.Rename{Name: "Support"}).ThenRefused(domain.NotFound, "not_found")
	})

	DescribeTable("has an id that needs no escaping", func(id string, fits bool) {
		Expect(departments.ValidID(id)).To(Equal(fits))
		outcome := given().When(departments.Create{DepartmentID: id, Name: "Support"})
		if !fits {
			outcome.ThenRefused(domain.Invalid, "validation_failed", "id")
		}
	},
		Entry("a word", "support", true), Entry("a cost centre", "CC-4711.eu:west_1@acme", true), Entry("100 bytes", strings.Repeat("a", 100), true),
		Entry("empty", "", false), Entry("101 bytes", strings.Repeat("a", 101), false), Entry("a space", "a b", false),
		Entry("a slash", "a/b", false), Entry("a mark first", ".a", false), Entry("beyond ASCII", "é", false), Entry("a line break", "a\n", false),
	)

	DescribeTable("has a name that can be shown", func(name string) {
		given().When(departments.Create{DepartmentID: "support", Name: name}).ThenRefused(domain.Invalid, "validation_failed", "name")
		given(created).When(departments.Rename{Name: name}).ThenRefused(domain.Invalid, "validation_failed", "name")
	},
		Entry("empty", ""), Entry("blank", "  "), Entry("a novel", strings.Repeat("n", 201)), Entry("a control character", "a\x1bb"))
})
