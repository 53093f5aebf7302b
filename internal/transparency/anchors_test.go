package transparency_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/transparency"
)

// witness is an endpoint that takes checkpoints.
type witness struct {
	*httptest.Server

	mu     sync.Mutex
	notes  []string
	status int
	answer string
}

func newWitness() *witness {
	w := &witness{status: http.StatusOK}
	w.Server = httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		defer GinkgoRecover()
		text, err := io.ReadAll(request.Body)
		Expect(err).NotTo(HaveOccurred())
		Expect(request.Header.Get("Content-Type")).To(HavePrefix("text/plain"))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notes = append(w.notes, string(text))
		response.Header().Set("Location", "http://127.0.0.1:1/")
		response.WriteHeader(w.status)
		_, _ = io.WriteString(response, w.answer)
	}))
	DeferCleanup(w.Close)
	return w
}

func (w *witness) behave(status int, answer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status, w.answer = status, answer
}

func (w *witness) taken() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.notes...)
}

var _ = Describe("Anchors", func() {
	It("get every signed checkpoint, and their receipts are events that do not lead to more of them", func(ctx context.Context) {
		p := newPlace(ctx)
		pool, err := p.db.Pool(context.WithoutCancel(ctx), "archon_worker", 4)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(pool.Close)
		across := eventstore.New(pool, eventstore.Config{})
		w, dir := newWitness(), GinkgoT().TempDir()
		endpoint, err := transparency.NewEndpoint(w.URL)
		Expect(err).NotTo(HaveOccurred())
		mine := func(list func(context.Context) ([]string, error)) func(context.Context) ([]string, error) {
			return func(ctx context.Context) (only []string, err error) { // other specs share the database
				all, err := list(ctx)
				for _, tenant := range all {
					if tenant == p.tenant {
						only = append(only, tenant)
					}
				}
				return only, err
			}
		}
		var receipts [][]transparency.Receipt
		worker := &transparency.Worker{
			Signer: p.signer, Pool: pool, Logger: p.signer.Logger, Unsigned: mine(across.Unsigned),
			Anchoring: &transparency.Anchoring{
				Anchors: []transparency.Anchor{transparency.Directory{Dir: dir}, endpoint}, Notes: p.store.Checkpoints, Keep: p.store.KeepAnchored,
				Unanchored: func(ctx context.Context) (only []eventstore.Unanchored, err error) {
					all, err := across.Unanchored(ctx)
					for _, log := range all {
						if log.Tenant == p.tenant {
							only = append(only, log)
						}
					}
					return only, err
				},
				Record: func(ctx context.Context, _ string, checkpoint eventstore.Checkpoint, got []transparency.Receipt) (int64, error) {
					Expect(checkpoint.Size).To(BeNumerically(">", 0))
					receipts = append(receipts, got)
					return p.append(ctx, 1), nil
				},
			},
		}
		round := func(anchored int) {
			GinkgoHelper()
			Expect(worker.Round(ctx)).To(Succeed())
			Expect(receipts).To(HaveLen(anchored))
		}
		p.append(ctx, 3)
		w.behave(http.StatusServiceUnavailable, "")
		round(0)
		w.behave(http.StatusMovedPermanently, "")
		round(0)
		w.behave(http.StatusCreated, "— witness AAAA")
		round(1)
		name, err := url.Parse(w.URL)
		Expect(err).NotTo(HaveOccurred())
		Expect(receipts[0]).To(Equal([]transparency.Receipt{{Anchor: "directory"}, {Anchor: name.Host, Receipt: "— witness AAAA"}}))
		files, err := filepath.Glob(filepath.Join(dir, deployment, p.tenant, "1", "*"))
		Expect(err).NotTo(HaveOccurred())
		Expect(files).To(HaveLen(1))
		kept, err := os.ReadFile(files[0])
		Expect(err).NotTo(HaveOccurred())
		_, vkey, err := p.signer.Key(ctx, p.tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(opened(vkey, string(kept)).Size).To(BeEquivalentTo(3))
		Expect(w.taken()).To(HaveEach(string(kept)))
		for range 3 {
			round(1) // the receipt is at position 4, and is no growth
		}
		p.append(ctx, 1)
		round(2)
		round(2)
		w.behave(http.StatusOK, strings.Repeat("ü", transparency.MaxReceiptBytes)+"\xff")
		p.append(ctx, 1)
		round(3)
		Expect(receipts[2][1].Receipt).To(Equal(strings.Repeat("ü", transparency.MaxReceiptBytes/2)))
	})

	It("that are a directory never change a file, complete one that a crash cut off, and show a contradiction", func(ctx context.Context) {
		dir := transparency.Directory{Dir: GinkgoT().TempDir()}
		checkpoint := eventstore.Checkpoint{Origin: "test/acme/1", Size: 7}
		path := filepath.Join(dir.Dir, "test", "acme", "1", "00000000000000000007")
		content := func() string {
			GinkgoHelper()
			text, err := os.ReadFile(path)
			Expect(err).NotTo(HaveOccurred())
			return string(text)
		}
		put := func(note string) error {
			_, err := dir.Put(ctx, checkpoint, note)
			return err
		}
		Expect(put("one\ntwo\n")).To(Succeed())
		Expect(put("one\ntwo\n")).To(Succeed())
		Expect(content()).To(Equal("one\ntwo\n"))
		Expect(put("one\nTWO\n")).To(MatchError(transparency.ErrContradicted))
		Expect(content()).To(Equal("one\ntwo\n"))
		Expect(os.WriteFile(path, []byte("one\nt"), 0o600)).To(Succeed())
		Expect(put("one\ntwo\n")).To(Succeed())
		Expect(content()).To(Equal("one\ntwo\n"))
		checkpoint.Origin = "../../acme/1"
		Expect(put("x")).To(MatchError(ContainSubstring("is not a name")))
		dir.Dir = path
		checkpoint.Origin = "test/acme/1"
		err := put("x")
		_, isPath := errors.AsType[*os.PathError](err)
		Expect(isPath).To(BeTrue(), "%v", err)
	})
})
