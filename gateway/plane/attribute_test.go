package plane_test

import (
	"context"
	"net/http"
	"strings"

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
	BeforeEach(func() {
		w = newWorld()
		w.upstream("a", gateway.OpenAI, gatewaytest.Chat(reply("hello")))
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
		Entry("neither", "", "", ""), Entry("what the request names does not matter then", "support", "a\nb", "support"))

	It("that a request names has to look like one, or nobody is called and the refusal is recorded", func(ctx context.Context) {
		for _, malformed := range []string{" ", "a\nb", strings.Repeat("a", 201)} {
			_, problem := account(ctx, "", malformed)
			Expect(problem).To(And(HaveField("Status", http.StatusBadRequest), HaveField("Code", "invalid_value"), HaveField("Param", plane.HeaderDepartment)))
		}
		Expect(w.calls()).To(BeEmpty())
		Eventually(func() []usage.Recorded {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.refused
		}).WithTimeout(bound).Should(And(HaveLen(3), HaveEach(And(HaveField("Code", "invalid_value"), HaveField("DepartmentID", "")))))
	})
})
