package cli_test

import (
	"encoding/json"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("bench sockets", Label("postgres"), func() {
	It("measures the delivery of every event to one socket and to many", func() {
		stdout, stderr, code := install().run("bench", "sockets", "--json", "--seconds", "0.5", "--sockets", "120")
		Expect(code).To(Equal(0), stderr)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		Expect(lines).To(HaveLen(3))
		for i, delivered := range []float64{10, 1200} {
			var result map[string]any
			Expect(json.Unmarshal([]byte(lines[i+1]), &result)).To(Succeed())
			Expect(result).To(And(HaveKeyWithValue("bench", "sockets"), HaveKeyWithValue("delivered", delivered), HaveKeyWithValue("missing", 0.0), HaveKeyWithValue("p99_ms", BeNumerically(">", 0))))
		}
	})
})
