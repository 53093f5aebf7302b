package cli_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/gateway"
	"github.com/archonhq/archon/gateway/gatewaytest"
)

var _ = Describe("A deleted provider", Label("e2e"), func() {
	It("leaves its secret to a job, whose result is in the log and in the list of jobs", func() {
		upstream := gatewaytest.New(gateway.OpenAI, gatewaytest.Options{APIKey: canary})
		DeferCleanup(upstream.Close)
		place := install()
		place.start()
		admin := place.token("acme", "ada", "admin")
		id, _ := place.must(http.MethodPost, providersPath, admin, body("OpenAI", upstream.URL)).data()["id"].(string)
		secrets := func() []string {
			var found []string
			Expect(filepath.WalkDir(filepath.Join(place.dir, "secrets"), func(path string, _ os.DirEntry, err error) error {
				if strings.HasPrefix(filepath.Base(path), id) {
					found = append(found, path)
				}
				return err
			})).To(Succeed())
			return found
		}
		Expect(secrets()).NotTo(BeEmpty())

		deleted := place.must(http.MethodDelete, providersPath+"/"+id, admin, nil)
		Expect(deleted.status).To(Equal(http.StatusNoContent))
		Expect(deleted.body).To(BeEmpty())

		Eventually(func() []map[string]any {
			return place.must(http.MethodGet, "/api/v1/jobs?status=succeeded", admin, nil).list()
		}).WithTimeout(bound).Should(ContainElement(And(HaveKeyWithValue("kind", "providers.remove_secret"), HaveKeyWithValue("attempts", 1.0))))
		Expect(secrets()).To(BeEmpty())
		Eventually(func() []map[string]any {
			return place.must(http.MethodGet, "/api/v1/audit?action=provider.secret_removed.v1", admin, nil).list()
		}).WithTimeout(bound).Should(ConsistOf(And(
			HaveKeyWithValue("actor", "jobs"), HaveKeyWithValue("resource_id", id),
			HaveKeyWithValue("correlation_id", deleted.header.Get("X-Correlation-ID")))))
	})
})
