package breaker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/archonhq/archon/internal/cache/cachetest"
)

// short are constants that a test lives to see.
func short() times { return times{window: 40, lease: 25, deadRetry: 20, tell: 15} }

// interleave has nodes do random things to one breaker and compares every answer with the machine's, which is told the
// time that Redis read. What is held back comes late, or never, as from a node that crashed.
func interleave(t *testing.T, client *redis.Client, seed uint64, steps int, pass func(ms int)) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 7))
	s := Settings{FailureThreshold: 1 + random.IntN(3), Cooldown: time.Duration(random.IntN(30)) * time.Millisecond, HalfOpenMax: 1 + random.IntN(3)}
	tenant := "t" + strconv.FormatUint(seed, 10)
	nodes := []*Breakers{New(client, Config{}), New(client, Config{})}
	for _, b := range nodes {
		b.times = short()
	}
	model := newMachine(short())
	var held []result
	seen := map[string]int{}
	for step := range steps {
		b := nodes[random.IntN(len(nodes))]
		r := request{tenant: tenant, provider: "p", settings: s}
		switch what := random.IntN(20); {
		case what < 9:
			r.op, r.result.permit = "admit", fmt.Sprint(step)
		case what < 18 && len(held) > 0:
			i := random.IntN(len(held))
			r.op, r.result = "done", held[i]
			if random.IntN(10) > 0 { // else it comes again
				held = append(held[:i], held[i+1:]...)
			}
			r.result.outcome = []string{didSucceed, didSucceed, didSucceed, didFail, didFail, didFail, didLimit, didDie, didNothing}[random.IntN(9)]
			r.result.lasts, r.result.reason = int64(random.IntN(20)), "invalid_key"
		case what == 18 && random.IntN(4) == 0:
			r.op = []string{"reset", "adopt"}[random.IntN(2)]
			r.result.reason = []string{"", "no_credit"}[random.IntN(2)]
		default:
			r.op = "look"
			pass(random.IntN(12))
		}
		got, err := b.run(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		var want answer
		switch r.op {
		case "admit":
			want = model.admit(got.now, s, r.result.permit)
		case "done":
			want = model.done(got.now, s, r.result)
		case "reset":
			want = model.reset(got.now)
		case "adopt":
			want = model.adopt(got.now, s, r.result.lasts, r.result.reason)
		default:
			want = model.look(got.now)
		}
		if got != want {
			t.Fatalf("seed %d, step %d, %+v:\nredis %+v\nmodel %+v", seed, step, r, got, want)
		}
		if got.admitted && random.IntN(6) > 0 { // else the process has crashed
			held = append(held, result{generation: got.generation, permit: r.result.permit, probe: got.probe})
		}
		if got.to != "" {
			seen[got.from+">"+got.to]++
		}
		check(t, model, s)
	}
	t.Logf("transitions: %v", seen)
}

// check holds what must be true of any breaker at any time.
func check(t *testing.T, m *machine, s Settings) {
	t.Helper()
	if m.state == Closed && len(m.failures) >= s.FailureThreshold {
		t.Fatalf("closed with %d failures", len(m.failures))
	}
	if m.state == HalfOpen && m.dead == "" && len(m.probes)+m.successes > s.HalfOpenMax {
		t.Fatalf("half open with %d probes and %d successes", len(m.probes), m.successes)
	}
	if m.state == HalfOpen && m.successes >= s.HalfOpenMax {
		t.Fatal("half open though all probes succeeded")
	}
}

func TestTheScriptAndTheMachineAreOneOnRedis(t *testing.T) {
	t.Parallel()
	client := cachetest.Server(t)
	for seed := range uint64(20) {
		interleave(t, client, seed, 150, func(ms int) { <-time.After(time.Duration(ms) * time.Millisecond / 4) })
	}
}

func TestTheScriptAndTheMachineAreOneInProcess(t *testing.T) {
	t.Parallel()
	client, server := cachetest.InProcess(t)
	now := time.UnixMilli(1_800_000_000_000)
	server.SetTime(now)
	for seed := range uint64(80) {
		interleave(t, client, seed, 200, func(ms int) {
			now = now.Add(time.Duration(ms) * time.Millisecond)
			server.SetTime(now)
		})
	}
}
