package plane_test

import (
	"context"
	"maps"
	"net/http"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/domain/usage"
	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
	"github.com/archonhq/archon/gateway/plane"
)

var _ = Describe("The department of a call", func() {
	var w *world
	// account is what is recorded of a call whose key or token says one thing and whose request another.
	account := func(ctx context.Context, said, named string) (string, *plane.Problem) {
		call := w.call("")
		call.Caller.DepartmentID, call.Caller.NamedDepartment = said, named
		result, problem := w.Chat(ctx, call)
		if problem != nil {
			return "", problem
		}
		return result.Recorded.DepartmentID, nil
	}
	found := func(id string) {
		w.change(func(c *plane.Configuration) {
			known := map[string]string{id: "Name"}
			maps.Copy(known, c.Departments)
			c.Departments = known
		})
	}
	BeforeEach(func() {
		w = newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("hello")))
		found("sales")
	})

	DescribeTable("is what key or token say, else what the request names", func(ctx context.Context, said, named, want string) {
		got, problem := account(ctx, said, named)
		Expect(problem).NotTo(HaveOccurred())
		Expect(got).To(Equal(want))
		Expect(w.one().DepartmentID).To(Equal(want))
		Expect(w.one().Decision).NotTo(BeEmpty())
		if want != "" {
			Expect(string(w.one().Decision)).To(ContainSubstring(`"department":"`+want+`"`), "the decision rests on it too")
		} else {
			Expect(string(w.one().Decision)).NotTo(ContainSubstring(`"department":"`))
		}
	},
		Entry("both", "support", "sales", "support"), Entry("only the request", "", "sales", "sales"), Entry("only the token, which is believed", "unheard-of", "", "unheard-of"),
		Entry("neither", "", "", ""), Entry("what the request names does not matter then", "support", "nobody", "support"))

	It("that a request names has to be there, or nobody is called and the refusal is recorded", func(ctx context.Context) {
		_, problem := account(ctx, "", "nobody")
		Expect(problem).To(And(HaveField("Status", http.StatusBadRequest), HaveField("Code", plane.CodeUnknownDepartment)))
		Expect(w.calls()).To(BeEmpty())
		Eventually(func() []usage.Recorded {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.refused
		}).WithTimeout(bound).Should(HaveExactElements(And(HaveField("Code", plane.CodeUnknownDepartment), HaveField("DepartmentID", ""))))
	})

	It("is known from the moment it is made, also where the configuration without it is fresh", func(ctx context.Context) {
		for _, id := range []string{"one", "two", "three"} {
			_, problem := account(ctx, "", "sales")
			Expect(problem).NotTo(HaveOccurred())
			found(id)
			got, problem := account(ctx, "", id)
			Expect(problem).NotTo(HaveOccurred())
			Expect(got).To(Equal(id))
		}
	})

	It("costs who makes names up a look at the log each 25 ms, and no more", func(ctx context.Context) {
		_, problem := account(ctx, "", "sales")
		Expect(problem).NotTo(HaveOccurred())
		w.mu.Lock()
		before := w.looks
		w.mu.Unlock()
		began := time.Now()
		for range 20 {
			_, problem := account(ctx, "", "nobody")
			Expect(problem).To(HaveField("Code", plane.CodeUnknownDepartment))
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		Expect(w.looks - before).To(BeNumerically("<=", 2+int(time.Since(began)/(25*time.Millisecond))))
	})
})
