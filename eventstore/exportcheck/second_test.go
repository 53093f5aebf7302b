package exportcheck_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archonhq/archon/eventstore/exportcheck"
)

// secondOpinion is another implementation of the same judgement, written from docs/audit-format.md.
const secondOpinion = "../../docs/examples/verify_export.py"

// driver asks it about many files in one process: it reads cases as a line of JSON each, and answers with code and position.
const driver = `
import io, json, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import verify_export as v
for line in sys.stdin:
    case = json.loads(line)
    keys = [v.Key(key) for key in case["keys"]]
    try:
        v.verify(io.BytesIO(bytes.fromhex(case["file"])), keys, [v.Checkpoint(note, keys) for note in case["since"]])
        print(0, 0)
    except v.Verdict as verdict:
        print(verdict.code, verdict.position)
`

func python(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("python3 is needed to hold the verifier against its second implementation: %v", err)
	}
	return path
}

// question is a file that both are asked about.
type question struct {
	what  string
	key   string
	file  []byte
	since []string
}

// agree fails where the two implementations differ in verdict or first bad position.
func agree(t *testing.T, questions []question) (verdicts [3]int) {
	t.Helper()
	var asked bytes.Buffer
	for _, q := range questions {
		if err := json.NewEncoder(&asked).Encode(map[string]any{"keys": []string{q.key}, "file": hex.EncodeToString(q.file), "since": append([]string{}, q.since...)}); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), python(t), "-B", "-c", driver, filepath.Dir(secondOpinion))
	command.Stdin = &asked
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	answers := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	for i, q := range questions {
		report, err := exportcheck.Verify(bytes.NewReader(q.file), exportcheck.Options{Keys: []string{q.key}, Since: q.since})
		if err != nil {
			t.Fatalf("%s: %v", q.what, err)
		}
		verdicts[report.Verdict]++
		if mine := fmt.Sprint(int(report.Verdict), " ", report.Position); mine != answers[i] {
			t.Errorf("%s: this says %s (%s), the second implementation %s", q.what, mine, report.Reason, answers[i])
		}
	}
	return verdicts
}

func TestBothVerifiersAgree(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 9)
	bytesOf := func(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }
	var questions []question
	ask := func(what string, file []byte, since ...string) {
		questions = append(questions, question{what, l.key, file, since})
	}
	for _, crime := range crimes(t, l) {
		ask(crime.name, bytesOf(crime.lines), crime.since...)
	}
	for from := 1; from <= 9; from++ {
		for to := from; to <= 9; to++ {
			ask(fmt.Sprintf("positions %d to %d", from, to), bytesOf(l.part(from, to)), l.checkpoint(from), l.checkpoint(to))
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, whole := range [][]byte{bytesOf(l.export()), bytesOf(l.part(4, 7))} {
		for range 300 {
			ask("a flipped bit", flipped(random, whole))
		}
		for range 30 {
			ask("a cut", whole[:random.IntN(len(whole))])
		}
	}
	for range 60 {
		ask("lines that were moved", bytesOf(moved(random, l.export())))
	}
	verdicts := agree(t, questions)
	for verdict, count := range verdicts {
		if count < 30 {
			t.Errorf("only %d files of verdict %d were asked about", count, verdict)
		}
	}
}

func flipped(random *rand.Rand, whole []byte) []byte {
	changed := bytes.Clone(whole)
	changed[random.IntN(len(changed))] ^= 1 << random.IntN(8)
	return changed
}

// moved deletes, doubles or swaps lines.
func moved(random *rand.Rand, lines []string) []string {
	changed := append([]string(nil), lines...)
	for range 1 + random.IntN(2) {
		a, b := random.IntN(len(changed)), random.IntN(len(changed))
		switch random.IntN(3) {
		case 0:
			changed[a], changed[b] = changed[b], changed[a]
		case 1:
			changed = append(changed[:a], changed[a+1:]...)
		default:
			changed = append(changed[:a], append([]string{changed[b]}, changed[a:]...)...)
		}
	}
	return changed
}

// What json in Python and our reader of lines could see differently.
func TestBothVerifiersAgreeOnOddLines(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 2)
	lines := l.export()
	var questions []question
	for from, tos := range map[string][]string{
		`"position":1,`: {
			`"position":1,"x":NaN,`, `"position":1,"x":-0,`, `"position":1,"x":1e999,`, `"position":1,"x":` + strings.Repeat("9", 5000) + `,`, `"position":1.0,`, `"position":01,`, `"position":-0,`, `"position":1e0,`,
			`"position":true,`, `"position":"1",`, `"position":1,"position":1,`, `"Position":1,`, `"position":1,"x":{"y":1,"y":2},`, `"position":1,"x":"\ud800",`, `"position":1,"x":"\ud83d\ude00",`, `"position":1,"\udc00":1,`,
			`"position":1,"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `,`, `"position":1,"x":` + strings.Repeat("[", 66) + strings.Repeat("]", 66) + `,`, `"position":9223372036854775808,`,
			"\"position\":1,\"x\":\"\x7f\",", "\"position\":1,\"x\":\"\t\",", "\"position\":1,\"x\":\"\u0085\",", `"position":1,"consistency":[],`, `"pos\u0069tion":1,`, " \t\r\"position\" : 1 , ", "\u00a0\"position\":1,", "\f\"position\":1,",
		},
		`.000000Z"`: {`.000000z"`, `.00000Z"`, `.000000+00:00"`}, `2025-02-03T04:05`: {`2025-02-30T04:05`, `2025-13-03T04:05`, `0000-02-03T04:05`, `2025-02-03T24:05`, `２０25-02-03T04:05`}, `"type":"test`: {`"type":"\u0074est`, `"type":"\x74est`, `"type":null,"x":"`},
		`"hash":"`: {`"hash":" `, `"hash":"0`}, `{"tenant_id"`: {"\ufeff{\"tenant_id\"", "[{\"tenant_id\"", "{,\"tenant_id\""},
	} {
		for _, to := range tos {
			changed := append([]string{strings.Replace(lines[0], from, to, 1)}, lines[1:]...)
			questions = append(questions, question{fmt.Sprintf("%.80s", to), l.key, []byte(strings.Join(changed, "\n") + "\n"), nil})
		}
	}
	if verdicts := agree(t, questions); verdicts[exportcheck.Sound] < 5 || verdicts[exportcheck.Tampered] < 20 {
		t.Errorf("%v", verdicts)
	}
}

// As a program, with its exit codes.
func TestTheSecondVerifierAsAProgram(t *testing.T) {
	t.Parallel()
	l := newLog(t, "acme", 3)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	text := strings.Join(l.export(), "\n") + "\n"
	whole, old := write("all.ndjson", text), write("old", l.checkpoint(2))
	for _, test := range []struct {
		code int
		says string
		args []string
	}{
		{0, "acme: sound, positions 1 to 3", []string{whole, "--since", old, "--key", l.key}},
		{1, "TAMPERED: position 2", []string{write("bad", strings.Replace(text, `\"n\":1`, `\"n\":7`, 1)), "--key", l.key}},
		{2, "INCOMPLETE", []string{write("cut", text[:len(text)/2]), "--key", l.key}},
		{3, "is not a key", []string{whole, "--key", "x"}},
		{3, "are needed", []string{whole}},
		{3, "No such file", []string{whole, "--key", l.key, "--since", filepath.Join(dir, "none")}},
	} {
		out, err := exec.CommandContext(t.Context(), python(t), append([]string{"-B", secondOpinion}, test.args...)...).CombinedOutput()
		code := 0
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			code = exit.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		if code != test.code || !strings.Contains(string(out), test.says) {
			t.Errorf("%v: exits with %d: %s", test.args, code, out)
		}
	}
}
