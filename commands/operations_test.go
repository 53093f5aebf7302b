package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/archonhq/archon/api"
	"github.com/archonhq/archon/commands"
	"github.com/archonhq/archon/domain"
	"github.com/archonhq/archon/domain/operations"
	"github.com/archonhq/archon/eventstore"
	"github.com/archonhq/archon/internal/eventcodec"
	"github.com/archonhq/archon/internal/httpx"
)

// control stands in for projections and jobs: it knows one of each.
type control struct {
	deeds atomic.Int64
}

const jobID = "01976b2e-6b3a-7c41-9d0e-3b6c5a4f2e12"

var errNothing = &domain.Refusal{Kind: domain.NotFound, Code: "not_found", Message: "There is no such thing."}

func (c *control) job(of, id string, status api.JobStatus) (api.Job, error) {
	if of != tenant || id != jobID {
		return api.Job{}, errNothing
	}
	c.deeds.Add(1)
	return api.Job{ID: id, Status: status}, nil
}

func (c *control) RetryJob(_ context.Context, of, id string) (api.Job, error) {
	return c.job(of, id, "pending")
}

func (c *control) DiscardJob(_ context.Context, of, id string) (api.Job, error) {
	return c.job(of, id, "discarded")
}

func (c *control) RetryProjection(_ context.Context, of, name string) (api.Projection, error) {
	return c.projection(of, name)
}

func (c *control) RebuildProjection(_ context.Context, of, name string) (api.Projection, error) {
	return c.projection(of, name)
}

func (c *control) PauseProjection(_ context.Context, of, name string) (api.Projection, error) {
	return c.projection(of, name)
}

func (c *control) ResumeProjection(_ context.Context, of, name string) (api.Projection, error) {
	return c.projection(of, name)
}

func (c *control) projection(of, name string) (api.Projection, error) {
	if of != tenant || name != "providers" {
		return api.Projection{}, errNothing
	}
	c.deeds.Add(1)
	return api.Projection{Name: name}, nil
}

var _ = Describe("What operators do", Label("postgres"), func() {
	var f *fixture
	var does *control
	var acts *commands.Operations
	BeforeEach(func() {
		f, does = newFixture(), &control{}
		handler := &commands.Handler{Log: f.store, Codec: eventcodec.New(), Sealer: sealer{}, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
		acts = &commands.Operations{Handler: handler, Control: does, Reads: commands.ReadYourWrites{Waiter: f.waits, Bound: time.Second}}
	})
	accepted := func(r *httpx.Request) { r.SuccessStatus, r.Path = http.StatusAccepted, "/api/v1/jobs/{id}/retry" }

	type outcome struct {
		answer any
		err    error
	}
	retryJob := func(ctx context.Context, id string) outcome {
		answer, err := acts.RetryJob(ctx, api.RetryJobRequestObject{ID: id})
		return outcome{answer, err}
	}
	discardJob := func(ctx context.Context, id string) outcome {
		answer, err := acts.DiscardJob(ctx, api.DiscardJobRequestObject{ID: id})
		return outcome{answer, err}
	}
	retryProjection := func(ctx context.Context, name string) outcome {
		answer, err := acts.RetryProjection(ctx, api.RetryProjectionRequestObject{Name: name})
		return outcome{answer, err}
	}

	rebuildProjection := func(ctx context.Context, name string) outcome {
		answer, err := acts.RebuildProjection(ctx, api.RebuildProjectionRequestObject{Name: name})
		return outcome{answer, err}
	}
	pauseProjection := func(ctx context.Context, name string) outcome {
		answer, err := acts.PauseProjection(ctx, api.PauseProjectionRequestObject{Name: name})
		return outcome{answer, err}
	}
	resumeProjection := func(ctx context.Context, name string) outcome {
		answer, err := acts.ResumeProjection(ctx, api.ResumeProjectionRequestObject{Name: name})
		return outcome{answer, err}
	}

	DescribeTable("is done and recorded, with who did it", func(act func() func(context.Context, string) outcome, id, stream, eventType, data string) {
		done := act()(as(accepted), id)
		Expect(done.err).NotTo(HaveOccurred())
		answer := done.answer.(httpx.Answer)
		Expect(answer.Status).To(Equal(http.StatusAccepted))
		Expect(answer.Header).To(HaveKeyWithValue(httpx.HeaderEventPosition, "1"))
		Expect(string(answer.Body)).To(ContainSubstring(id))
		log := f.log()
		Expect(log).To(HaveLen(1))
		Expect(log[0]).To(And(HaveField("Stream", stream), HaveField("Type", eventType)))
		Expect(log[0].Data).To(MatchJSON(data))
		var meta domain.Meta
		Expect(json.Unmarshal(log[0].Meta, &meta)).To(Succeed())
		Expect(meta).To(And(HaveField("Actor.ID", "ada"), HaveField("Status", http.StatusAccepted), HaveField("Path", "/api/v1/jobs/{id}/retry"), HaveField("Client", Not(BeEmpty()))))
		Expect(does.deeds.Load()).To(BeEquivalentTo(1))
		Expect(f.waits.count.Load()).To(BeEquivalentTo(1))
	},
		Entry("a job retried", func() func(context.Context, string) outcome { return retryJob }, jobID, "job-"+jobID, "job.retried.v1", `{"job_id":"`+jobID+`"}`),
		Entry("a job discarded", func() func(context.Context, string) outcome { return discardJob }, jobID, "job-"+jobID, "job.discarded.v1", `{"job_id":"`+jobID+`"}`),
		Entry("a projection retried", func() func(context.Context, string) outcome { return retryProjection }, "providers",
			operations.ProjectionStream("providers"), "projection.retried.v1", `{"name":"providers"}`),
		Entry("a projection rebuilt", func() func(context.Context, string) outcome { return rebuildProjection }, "providers",
			operations.ProjectionStream("providers"), "projection.rebuild_requested.v1", `{"name":"providers"}`),
		Entry("a projection paused", func() func(context.Context, string) outcome { return pauseProjection }, "providers",
			operations.ProjectionStream("providers"), "projection.paused.v1", `{"name":"providers"}`),
		Entry("a projection resumed", func() func(context.Context, string) outcome { return resumeProjection }, "providers",
			operations.ProjectionStream("providers"), "projection.resumed.v1", `{"name":"providers"}`),
	)

	It("is recorded without a request, too", func(ctx context.Context) {
		Expect(acts.Record(ctx, tenant, domain.To{Stream: operations.ProjectionStream("keys"), Event: operations.ProjectionPaused{Name: "keys"}})).To(Succeed())
		log := f.log()
		Expect(log).To(HaveLen(1))
		Expect(log[0]).To(And(HaveField("Stream", operations.ProjectionStream("keys")), HaveField("Type", "projection.paused.v1")))
		var meta domain.Meta
		Expect(json.Unmarshal(log[0].Meta, &meta)).To(Succeed())
		Expect(meta.Actor).To(Equal(domain.Actor{ID: "cli", Type: domain.System}))
		acts.Handler.Log = fullLog{Log: f.store, err: errNothing}
		Expect(acts.Record(ctx, tenant, domain.To{Stream: "projection-x", Event: operations.ProjectionPaused{}})).To(MatchError(errNothing))
	})

	It("is not recorded where it was refused, whoever's it is", func() {
		foreign := func(r *httpx.Request) { r.Principal.Tenant = "globex" }
		for _, done := range []outcome{
			retryJob(as(), "no-such"), discardJob(as(), "no-such"), retryProjection(as(), "no-such"), retryJob(as(foreign), jobID), retryProjection(as(foreign), "providers"),
			rebuildProjection(as(foreign), "providers"), pauseProjection(as(), "no-such"), resumeProjection(as(foreign), "providers"),
		} {
			Expect(done.err).To(MatchError(errNothing))
		}
		Expect(f.log()).To(BeEmpty())
	})

	It("is answered again and recorded once where the same key comes twice", func() {
		once := func() httpx.Answer {
			GinkgoHelper()
			begun, err := f.begin(as(accepted), "key", "")
			if begun.Done != nil {
				defer begun.Done()
			}
			Expect(err).NotTo(HaveOccurred())
			if begun.Answer != nil {
				return *begun.Answer
			}
			done := retryJob(begun.Context, jobID)
			Expect(done.err).NotTo(HaveOccurred())
			return done.answer.(httpx.Answer)
		}
		first, second := once(), once()
		Expect(second.Body).To(MatchJSON(first.Body))
		Expect(second.Replayed).To(BeTrue())
		Expect(f.log()).To(HaveLen(1))
		Expect(does.deeds.Load()).To(BeEquivalentTo(1))
	})

	It("is recorded once where the same key is under way on two nodes", func() {
		// Both have looked for the key before either has written it; the log decides.
		ctxs := []context.Context{}
		for _, node := range []*fixture{f, newNodeOn(f)} {
			begun, err := node.begin(as(accepted), "key", "")
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(begun.Done)
			ctxs = append(ctxs, begun.Context)
		}
		first, second := retryJob(ctxs[0], jobID), retryJob(ctxs[1], jobID)
		Expect(errors.Join(first.err, second.err)).NotTo(HaveOccurred())
		Expect(second.answer.(httpx.Answer).Replayed).To(BeTrue())
		Expect(f.log()).To(HaveLen(1))
	})

	It("is done though the log can't be written, and says so", func() {
		broken := errors.New("the disk is full")
		acts.Handler.Log = fullLog{Log: f.store, err: broken}
		Expect(retryJob(as(), jobID).err).To(MatchError(broken))
		Expect(does.deeds.Load()).To(BeEquivalentTo(1), "the deed comes first, since it can be done again")
	})
})

// fullLog takes no more events.
type fullLog struct {
	commands.Log
	err error
}

func (l fullLog) Append(context.Context, eventstore.Append) (eventstore.Result, error) {
	return eventstore.Result{}, l.err
}
