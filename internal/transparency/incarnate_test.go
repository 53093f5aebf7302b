package transparency_test

import (
	"context"
	"errors"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/eventstore/exportcheck"
	"github.com/archonhq/archon/internal/transparency"
)

var _ = Describe("A restored backup", func() {
	var s *scene

	BeforeEach(func(ctx context.Context) { s = newScene(ctx) })

	// declare writes something into the log, as the command does.
	declare := func(ctx context.Context, _ transparency.Incarnation) error {
		s.append(ctx, 1)
		return nil
	}

	It("is signed under a new origin once it was declared, which names what survived and what was lost", func(ctx context.Context) {
		lost := opened(s.vkey, s.outside)
		s.restore(ctx)
		s.append(ctx, 1)
		surviving := opened(s.vkey, s.inside(ctx))
		made, err := s.signer.Incarnate(ctx, s.tenant, declare)
		Expect(err).NotTo(HaveOccurred())
		Expect(made).To(Equal(transparency.Incarnation{Number: 2, Surviving: surviving, Lost: lost}))
		Expect(surviving.Size).To(BeEquivalentTo(4))

		signed, err := s.signer.Checkpoint(ctx, s.tenant)
		Expect(err).NotTo(HaveOccurred())
		origin, vkey, err := s.signer.Key(ctx, s.tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(origin).To(Equal(deployment + "/" + s.tenant + "/2"))
		Expect(opened(vkey, signed.Note)).To(And(HaveField("Size", BeEquivalentTo(6)), HaveField("Origin", origin)))

		By("holding exports against what survived, and saying of what was lost that it belongs to another incarnation")
		keys := []string{vkey, s.vkey}
		report, err := exportcheck.Verify(s.export(ctx, signed.Note), exportcheck.Options{Keys: keys, Since: []string{s.note(ctx, surviving.Size)}})
		Expect(err).NotTo(HaveOccurred())
		Expect(report.Verdict).To(Equal(exportcheck.Sound), report.Reason)
		report, err = exportcheck.Verify(s.export(ctx, signed.Note), exportcheck.Options{Keys: keys, Since: []string{s.outside}})
		Expect(err).NotTo(HaveOccurred())
		Expect(report).To(And(HaveField("Verdict", exportcheck.Tampered), HaveField("Reason", ContainSubstring("different incarnations")), HaveField("Notes", HaveLen(2))))

		By("guarding the new incarnation like the old one")
		s.do(ctx, `delete from events where tenant_id = $1 and position = 6`, s.tenant)
		s.do(ctx, moveHead, s.tenant)
		_, err = s.signer.Checkpoint(ctx, s.tenant)
		_, refused := errors.AsType[*transparency.Refusal](err)
		Expect(refused).To(BeTrue(), "%v", err)
	})

	It("names no survivor where the stored checkpoint is not one that was signed, or not of this log", func(ctx context.Context) {
		s.restore(ctx)
		s.do(ctx, `update audit_checkpoints set note = replace(note, '4', '3') where tenant_id = $1`, s.tenant)
		made, err := s.signer.Incarnate(ctx, s.tenant, declare)
		Expect(err).NotTo(HaveOccurred())
		Expect(made.Surviving).To(Equal(eventstore.Checkpoint{}))
	})

	It("is not declared of a log that continues what was signed, nor of one that contradicts its own tree, nor where nothing can be written", func(ctx context.Context) {
		_, err := s.signer.Incarnate(ctx, s.tenant, declare)
		Expect(err).To(MatchError(transparency.ErrContinues))
		s.restore(ctx)
		full := errors.New("the disk is full")
		_, err = s.signer.Incarnate(ctx, s.tenant, func(context.Context, transparency.Incarnation) error { return full })
		Expect(err).To(MatchError(full))
		_, err = s.signer.Checkpoint(ctx, s.tenant)
		_, refused := errors.AsType[*transparency.Refusal](err)
		Expect(refused).To(BeTrue(), "nothing was declared: %v", err)
		rewrite(ctx, s.place, 3)
		_, err = s.signer.Incarnate(ctx, s.tenant, declare)
		_, refused = errors.AsType[*transparency.Refusal](err)
		Expect(refused).To(BeTrue(), "%v", err)
	})

	It("is declared once, however many declare it at the same time", func(ctx context.Context) {
		s.restore(ctx)
		race := func() {
			_, err := s.another().Incarnate(ctx, s.tenant, declare)
			Expect(err).NotTo(HaveOccurred())
		}
		s.secrets.beforePut.Store(&race)
		_, err := s.signer.Incarnate(ctx, s.tenant, declare)
		Expect(err).To(MatchError(ContainSubstring("at the same time")))
		origin, _, err := s.signer.Key(ctx, s.tenant)
		Expect(err).NotTo(HaveOccurred())
		Expect(origin).To(HaveSuffix("/2"))
	})
})

// note is a stored checkpoint.
func (s *scene) note(ctx context.Context, size int64) string {
	GinkgoHelper()
	notes, err := s.store.Checkpoints(ctx, s.tenant, size)
	Expect(err).NotTo(HaveOccurred())
	return notes[size]
}
