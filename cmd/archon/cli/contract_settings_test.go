package cli_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// delivery is a message that a receiver got.
type delivery struct {
	id, timestamp, signature, body string
}

// receiver is what a tenant's alerts are sent to.
type receiver struct {
	*httptest.Server

	mu     sync.Mutex
	got    []delivery
	answer http.HandlerFunc
}

// receiving is a receiver that goes with the spec; answer may be nil for one that takes everything.
func receiving(answer http.HandlerFunc) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		r.mu.Lock()
		r.got = append(r.got, delivery{
			request.Header.Get("Webhook-Id"), request.Header.Get("Webhook-Timestamp"), request.Header.Get("Webhook-Signature"), string(body),
		})
		r.mu.Unlock()
		if r.answer != nil {
			r.answer(w, request)
		}
	}))
	DeferCleanup(r.Close)
	return r
}

func (r *receiver) deliveries() []delivery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]delivery{}, r.got...)
}

// signedWith tells whether one of a delivery's signatures is by a secret, as docs/costs.md has a receiver check it.
func (d delivery) signedWith(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(d.id + "." + d.timestamp + "." + d.body))
	expected := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	for signature := range strings.SplitSeq(d.signature, " ") {
		if hmac.Equal([]byte(signature), []byte(expected)) {
			return true
		}
	}
	return false
}

// verifiedByDocs runs what docs/costs.md gives a receiver on a delivery.
func (d delivery) verifiedByDocs(secret string) error {
	GinkgoHelper()
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "costs.md"))
	Expect(err).NotTo(HaveOccurred())
	_, snippet, found := strings.Cut(string(page), "```python\n")
	Expect(found).To(BeTrue())
	snippet, _, _ = strings.Cut(snippet, "```")
	given, err := json.Marshal([]any{secret, map[string]string{"webhook-id": d.id, "webhook-timestamp": d.timestamp, "webhook-signature": d.signature}, d.body})
	Expect(err).NotTo(HaveOccurred())
	run := exec.Command("python3", "-c", snippet+"\nimport json, sys\nsecret, headers, body = json.load(sys.stdin)\nverify(secret, headers, body.encode())\n")
	run.Stdin = bytes.NewReader(given)
	said, err := run.CombinedOutput()
	if err != nil {
		Expect(string(said)).To(ContainSubstring("ValueError"))
	}
	return err //nolint:wrapcheck // a test
}

func (d delivery) message() map[string]any {
	GinkgoHelper()
	var message map[string]any
	Expect(json.Unmarshal([]byte(d.body), &message)).To(Succeed(), d.body)
	return message
}

// costSettingsContract is the contract of the settings of costs, and of what is sent to a webhook.
func costSettingsContract(shared func() *surface) {
	var s *surface
	var name, admin, viewer string

	BeforeEach(func() {
		s = shared()
		name = "t-" + uuid.NewString()[:8]
		admin, viewer = s.token(name, "ada", "admin"), s.token(name, "vic", "viewer")
	})
	put := func(body any, headers ...header) reply {
		GinkgoHelper()
		return s.ask(http.MethodPut, settingsPath, admin, body, headers...)
	}
	jobs := func(status string) []map[string]any {
		GinkgoHelper()
		return s.get(jobsPath+"?status="+status, viewer).list()
	}

	It("are UTC and no webhook until they are set, each time for who has seen the present ones", func() {
		r := s.get(settingsPath, viewer)
		Expect(r.data()).To(Equal(object{"time_zone": "UTC", "alert_webhook_url": nil, "version": 0.0}))
		Expect(r.header.Get("ETag")).To(Equal(`"0"`))
		before := time.Now().UTC()
		set := put(object{"time_zone": "Europe/Berlin", "alert_webhook_url": nil}, header{"If-Match": `"0"`})
		Expect(set.data()).To(Equal(object{"time_zone": "Europe/Berlin", "alert_webhook_url": nil, "alert_webhook_secret": nil, "version": 1.0}))
		Expect(put(object{"time_zone": "UTC", "alert_webhook_url": nil}, header{"If-Match": `"0"`}).status).To(Equal(http.StatusPreconditionFailed))
		Expect(put(object{"time_zone": "Europe/Berlin", "alert_webhook_url": nil}).eventPosition()).To(BeNumerically(">=", set.eventPosition()))
		Expect(s.get(settingsPath, viewer).data()).To(Equal(object{"time_zone": "Europe/Berlin", "alert_webhook_url": nil, "version": 1.0}))
		Expect(s.get(settingsPath+"?as_of="+before.Format(time.RFC3339Nano), viewer).data()).To(HaveKeyWithValue("time_zone", "UTC"))
		Expect(s.entries(admin, "resource_type=costs-settings&outcome=succeeded")).To(HaveLen(1))
	})

	It("refuse what is no time zone, no address to call and no secret, and say why without the value", func() {
		fine := func() object { return object{"time_zone": "UTC", "alert_webhook_url": "https://example.com/hook"} }
		for field, values := range map[string][]any{
			"time_zone": {nil, "", "Local", "Mars/Olympus", canary, "../" + canary, 1},
			"alert_webhook_url": {
				"", "example.com", "file:///etc/passwd", "ftp://example.com", "https://ada:" + canary + "@example.com", "https://example.com/?key=" + canary, "http://169.254.169.254/" + canary,
				"http://10.0.0.1/" + canary, "https://metadata.google.internal", "javascript:" + canary, 1,
			},
			"alert_webhook_secret": {"", canary, "whsec_" + canary, "whsec_c2hvcnQ=", "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65)), 1},
		} {
			for _, value := range values {
				body := fine()
				body[field] = value
				r := put(body)
				Expect(r.status).To(Equal(http.StatusUnprocessableEntity), r.body)
				_, details := r.failure()
				Expect(details).To(HaveKey(field), r.body)
				Expect(r.body).NotTo(ContainSubstring(canary))
			}
		}
		for _, missing := range []string{"time_zone", "alert_webhook_url"} {
			body := fine()
			delete(body, missing)
			Expect(put(body).status).To(Equal(http.StatusUnprocessableEntity), missing)
		}
		useless := put(object{"time_zone": "UTC", "alert_webhook_url": nil, "alert_webhook_secret": "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))})
		Expect(useless.status).To(Equal(http.StatusUnprocessableEntity), useless.body)
		Expect(s.get(settingsPath, viewer).data()).To(HaveKeyWithValue("version", 0.0))
		Expect(dump(s.installation)).NotTo(ContainSubstring(canary))
	})

	It("send alerts to a webhook, signed and again until it takes them, under an id that stays", func() {
		var mu sync.Mutex
		failures := 2
		r := receiving(func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if failures--; failures >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				_, _ = io.WriteString(w, canary)
			}
		})
		once := header{"Idempotency-Key": uuid.NewString()}
		body := object{"time_zone": "UTC", "alert_webhook_url": r.URL + "/alerts"}
		first := put(body, once)
		secret, _ := first.data()["alert_webhook_secret"].(string)
		Expect(secret).To(HavePrefix("whsec_"))
		Expect(put(body, once).data()).To(HaveKeyWithValue("alert_webhook_secret", BeNil()), "it is shown once")
		Expect(put(body).data()).To(And(HaveKeyWithValue("alert_webhook_secret", BeNil()), HaveKeyWithValue("version", 1.0)))

		raiseAlert(s.installation, name, "model-1")
		Eventually(r.deliveries).WithTimeout(bound).Should(HaveLen(3))
		got := r.deliveries()
		for _, one := range got {
			Expect(one.id).To(Equal(got[0].id))
			Expect(one.body).To(Equal(got[0].body), "a receiver can tell a repetition")
			Expect(one.signedWith(secret)).To(BeTrue())
			Expect(one.signature).NotTo(ContainSubstring(" "))
		}
		Expect(got[0].verifiedByDocs(secret)).To(Succeed())
		forged, stale := got[0], got[0]
		forged.body += " "
		stale.timestamp = "1795600000"
		Expect(forged.verifiedByDocs(secret)).NotTo(Succeed())
		Expect(stale.verifiedByDocs(secret)).NotTo(Succeed())
		alert := s.get(alertsPath, viewer).list()[0]
		message := got[0].message()
		Expect(message).To(And(HaveKeyWithValue("type", "alert.raised"), HaveKeyWithValue("timestamp", alert["created_at"])))
		Expect(message["data"]).To(Equal(object{
			"tenant_id": name, "alert_id": alert["id"], "kind": "unpriced_model", "subject": "custom/model-1", "message": alert["message"],
			"details": object{"provider_type": "custom", "model": "model-1"}, "status": "open", "raised_at": alert["created_at"], "resolved_at": nil,
			"resolution": nil, "path": "/api/v1/alerts?status=open",
		}))
		Eventually(func() []map[string]any { return jobs("succeeded") }).WithTimeout(bound).Should(ContainElement(And(
			HaveKeyWithValue("kind", "alerts.deliver"), HaveKeyWithValue("attempts", 3.0), HaveKeyWithValue("error", "the webhook answered 503; 2xx is expected"))))

		By("changing the secret, with both signatures for a day")
		own := "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 32)))
		rotated := put(object{"time_zone": "UTC", "alert_webhook_url": r.URL + "/alerts", "alert_webhook_secret": own})
		Expect(rotated.data()).To(And(HaveKeyWithValue("alert_webhook_secret", BeNil()), HaveKeyWithValue("version", 2.0)))
		Expect(put(object{"time_zone": "UTC", "alert_webhook_url": r.URL + "/alerts", "alert_webhook_secret": own}).data()).To(HaveKeyWithValue("version", 2.0), "the same one")
		Expect(s.ask(http.MethodPut, pricingPath, admin, priced(object{"provider_type": "custom", "model": "model-1"})).status).To(Equal(http.StatusOK))
		Eventually(r.deliveries).WithTimeout(bound).Should(HaveLen(4))
		resolved := r.deliveries()[3]
		Expect(resolved.id).NotTo(Equal(got[0].id))
		Expect(resolved.signedWith(own)).To(BeTrue())
		Expect(resolved.signedWith(secret)).To(BeTrue())
		Expect(resolved.message()).To(And(HaveKeyWithValue("type", "alert.resolved"), HaveKeyWithValue("data", And(
			HaveKeyWithValue("alert_id", alert["id"]), HaveKeyWithValue("message", alert["message"]), HaveKeyWithValue("status", "resolved"),
			HaveKeyWithValue("resolved_at", Not(BeNil())), HaveKeyWithValue("resolution", Not(BeEmpty()))))))

		By("sending nothing without a webhook, which is nobody's failure")
		Expect(put(object{"time_zone": "UTC", "alert_webhook_url": nil}).status).To(Equal(http.StatusOK))
		raiseAlert(s.installation, name, "model-2")
		Eventually(func() int {
			return len(jobs("succeeded"))
		}).WithTimeout(bound).Should(BeNumerically(">=", 5), "three deliveries and two looks at alerts")
		Expect(r.deliveries()).To(HaveLen(4))
		Expect(jobs("failed")).To(BeEmpty())
		for _, hidden := range []string{secret, strings.TrimPrefix(secret, "whsec_"), own, canary} {
			Expect(dump(s.installation)).NotTo(ContainSubstring(hidden))
			Expect(s.running.output.String()).NotTo(ContainSubstring(hidden))
		}
	})
}

var _ = Describe("An alert's delivery", Label("e2e"), func() {
	It("outlives kill -9 between the message and its answer, and keeps its id", func() {
		place := install()
		running := place.start()
		s := surfaceOf(running)
		admin := s.token("acme", "ada", "admin")
		arrived, hang := make(chan struct{}, 8), make(chan struct{})
		r := receiving(func(_ http.ResponseWriter, request *http.Request) {
			arrived <- struct{}{}
			select {
			case <-hang:
			case <-request.Context().Done():
			}
		})
		made := s.ask(http.MethodPut, settingsPath, admin, object{"time_zone": "UTC", "alert_webhook_url": r.URL})
		secret, _ := made.data()["alert_webhook_secret"].(string)
		raiseAlert(place, "acme", "model-1")
		Eventually(arrived).WithTimeout(bound).Should(Receive())
		running.kill()
		close(hang)
		s = surfaceOf(place.start())
		Eventually(r.deliveries).WithTimeout(bound).Should(HaveLen(2))
		Eventually(func() []map[string]any {
			return s.get(jobsPath+"?status=succeeded", admin).list()
		}).WithTimeout(bound).Should(ContainElement(HaveKeyWithValue("kind", "alerts.deliver")))
		got := r.deliveries()
		Expect(got).To(HaveLen(2))
		Expect(got[1].id).To(Equal(got[0].id))
		Expect(got[1].body).To(Equal(got[0].body))
		Expect(got[0].signedWith(secret) && got[1].signedWith(secret)).To(BeTrue())
	})
})
