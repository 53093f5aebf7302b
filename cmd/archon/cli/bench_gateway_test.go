package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("bench gateway", Label("postgres"), func() {
	It("measures calls through a child beside calls to the upstream, and leaves nothing behind", func() {
		i := install()
		temporary := filepath.Join(i.dir, "tmp")
		const searchable = 0o711
		Expect(os.Mkdir(temporary, searchable)).To(Succeed())
		i.env = append(i.env, "TMPDIR="+temporary)
		stdout, stderr, code := i.run("bench", "gateway", "--json", "--seconds", "0.1", "--rounds", "1", "--streams", "20")
		Expect(code).To(Equal(0), stderr)
		Expect(os.ReadDir(temporary)).To(BeEmpty())

		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		var environment map[string]any
		Expect(json.Unmarshal([]byte(lines[0]), &environment)).To(Succeed())
		Expect(environment).To(And(HaveKeyWithValue("bench", "environment"), HaveKeyWithValue("postgresql", HavePrefix("PostgreSQL"))))
		var measured []string
		for _, line := range lines[1:] {
			var result map[string]any
			Expect(json.Unmarshal([]byte(line), &result)).To(Succeed())
			measured = append(measured, result["measure"].(string)+" "+result["variant"].(string)+" "+result["call"].(string))
			Expect(result).To(And(HaveKeyWithValue("bench", "gateway"), HaveKeyWithValue("calls", BeNumerically(">", 0)), HaveKeyWithValue("p50_ms", BeNumerically(">", 0))), line)
			if result["measure"] != "paired" {
				Expect(result).To(HaveKeyWithValue("errors", BeZero()), line+stderr)
			}
		}
		Expect(measured).To(Equal([]string{
			"paired full plain", "paired full first_token",
			"open_loop upstream plain", "open_loop full plain", "open_loop upstream plain", "open_loop full plain",
			"streams upstream first_token", "streams full first_token",
			"paired bare plain", "paired bare first_token",
		}))
	})
})
