package eventstore_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/archonhq/archon/eventstore"
)

const (
	vectorsFile  = "testdata/hash-v1.json"
	document     = "../docs/audit-format.md"
	secondOpinon = "../docs/examples/verify_chain.py"
)

// vectors are the published test vectors.
type vectors struct {
	Format  string `json:"format"`
	Genesis []struct {
		Tenant string `json:"tenant_id"`
		Hash   string `json:"hash"`
	} `json:"genesis"`
	Chains []struct {
		Name   string `json:"name"`
		Events []struct {
			Event exported    `json:"event"`
			Parts [][2]string `json:"parts"`
		} `json:"events"`
	} `json:"chains"`
}

// exported is a line of an export.
type exported struct {
	Tenant     string `json:"tenant_id"`
	Position   int64  `json:"position"`
	Stream     string `json:"stream"`
	Version    int64  `json:"version"`
	EventID    string `json:"event_id"`
	Type       string `json:"type"`
	OccurredAt string `json:"occurred_at"`
	CommandID  string `json:"command_id"`
	Meta       string `json:"meta"`
	Data       string `json:"data"`
	PrevHash   string `json:"prev_hash"`
	Hash       string `json:"hash"`
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	raw, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func fromHex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (e *exported) recorded(t *testing.T) eventstore.Recorded {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, e.OccurredAt)
	if err != nil {
		t.Fatal(err)
	}
	return eventstore.Recorded{
		Tenant: e.Tenant, Stream: e.Stream, Type: e.Type, Position: e.Position, Version: e.Version,
		EventID: uuid.MustParse(e.EventID), CommandID: uuid.MustParse(e.CommandID), OccurredAt: at.UnixMicro(),
		Meta: []byte(e.Meta), Data: []byte(e.Data), PrevHash: fromHex(t, e.PrevHash), Hash: fromHex(t, e.Hash),
	}
}

func TestPublishedVectors(t *testing.T) {
	t.Parallel()
	v := readVectors(t)
	if v.Format != "archon.event.v1" || len(v.Genesis) < 3 || len(v.Chains) < 2 || len(v.Chains[0].Events) < 4 {
		t.Fatalf("the vectors are not all there: %s, %d genesis hashes, %d chains", v.Format, len(v.Genesis), len(v.Chains))
	}
	for _, g := range v.Genesis {
		if got := hex.EncodeToString(eventstore.Genesis(g.Tenant)); got != g.Hash {
			t.Errorf("genesis of %s is %s, published is %s", g.Tenant, got, g.Hash)
		}
	}
	for _, chain := range v.Chains {
		prev := eventstore.Genesis(chain.Events[0].Event.Tenant)
		for _, vector := range chain.Events {
			event := vector.Event.recorded(t)
			if !bytes.Equal(event.PrevHash, prev) {
				t.Errorf("%s, position %d does not link", chain.Name, event.Position)
			}
			if got := eventstore.Hash(&event); !bytes.Equal(got[:], event.Hash) {
				t.Errorf("%s: the hash of position %d is %x, published is %x", chain.Name, event.Position, got, event.Hash)
			}
			checkParts(t, &event, vector.Parts)
			prev = event.Hash
		}
	}
}

// checkParts compares the published pieces with what is hashed, which also shows where they part.
func checkParts(t *testing.T, event *eventstore.Recorded, parts [][2]string) {
	t.Helper()
	hashed := eventstore.Preimage(event)
	for _, part := range parts {
		piece := fromHex(t, part[1])
		if !bytes.HasPrefix(hashed, piece) {
			t.Errorf("position %d: %s is %s in the vectors; what is hashed goes on with %x", event.Position, part[0], part[1], hashed)
			return
		}
		hashed = hashed[len(piece):]
	}
	if len(hashed) > 0 {
		t.Errorf("position %d: %x is hashed, too", event.Position, hashed)
	}
}

func TestDocumentHoldsTheVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	published, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "<!-- eventstore/testdata/hash-v1.json; a test compares -->\n```json\n")
	embedded, _, closed := strings.Cut(rest, "```")
	if !found || !closed || embedded != string(published) {
		t.Errorf("%s does not hold %s as it is", document, vectorsFile)
	}
}

// secondOpinion runs the Python implementation.
func secondOpinion(t *testing.T, stdin string, arguments ...string) (output string, exitCode int) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatalf("python3 is needed to check the second implementation: %v", err)
	}
	command := exec.CommandContext(t.Context(), "python3", append([]string{"-B", secondOpinon}, arguments...)...)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), command.ProcessState.ExitCode()
}

func TestSecondImplementation(t *testing.T) {
	t.Parallel()
	if out, code := secondOpinion(t, "", "vectors", vectorsFile); code != 0 {
		t.Errorf("on the published vectors it exits with %d: %s", code, out)
	}
	wrong := strings.Replace(readFile(t, vectorsFile), "00062d34ff5b8087", "00062d34ff5b8088", 1)
	path := filepath.Join(t.TempDir(), "wrong.json")
	if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := secondOpinion(t, "", "vectors", path); code != 1 || !strings.Contains(out, "occurred_at") {
		t.Errorf("on a wrong vector it exits with %d: %s", code, out)
	}

	lines := exportLines(t)
	all := strings.Join(lines, "")
	checkpoint := `{"checkpoint":"a signed note"}` + "\n"
	for name, test := range map[string]struct {
		export string
		code   int
		says   string
	}{
		"whole":             {all + checkpoint, 0, "ok: 40 events up to position 40"},
		"a range":           {anchor(t, lines[9]) + strings.Join(lines[10:20], ""), 0, "ok: 10 events up to position 20"},
		"a wrong anchor":    {anchor(t, lines[8]) + strings.Join(lines[10:20], ""), 1, "position 10: missing, found 11"},
		"a forged anchor":   {strings.Replace(anchor(t, lines[9]), `:10,`, `:10,"x":1,`, 1) + strings.Join(lines[10:], ""), 0, "ok"},
		"a changed byte":    {strings.Replace(all, `№ 17`, `№ 18`, 1), 1, "position 18: was changed"},
		"a lost line":       {strings.Join(lines[:5], "") + strings.Join(lines[6:], ""), 1, "position 6: missing, found 7"},
		"no first line":     {strings.Join(lines[1:], ""), 1, "position 1: missing"},
		"lines swapped":     {lines[0] + lines[2] + lines[1], 1, "position 2: missing, found 3"},
		"another tenant's":  {lines[0] + strings.Replace(lines[1], `"export"`, `"exporu"`, 1), 1, "belongs to another tenant"},
		"after the end":     {all + checkpoint + lines[0], 1, "follows the checkpoint"},
		"no JSON":           {"nonsense", 2, "can't read"},
		"nothing":           {"", 0, "nothing to check"},
		"a link that broke": {lines[0] + strings.Replace(lines[1], `"prev_hash":"`, `"prev_hash":"00`, 1), 1, "position 2: does not link"},
	} {
		if out, code := secondOpinion(t, test.export, "export", "-"); code != test.code || !strings.Contains(out, test.says) {
			t.Errorf("%s: exits with %d, says %s", name, code, out)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// exportLines is an export of 40 events with all that makes text difficult.
func exportLines(t *testing.T) []string {
	t.Helper()
	const tenant, count = "export", 40
	prev := eventstore.Genesis(tenant)
	var lines []string
	for i := range int64(count) {
		event := eventstore.Recorded{
			Tenant: tenant, Stream: "thing-<&>", Type: "t.happened.v1", Position: i + 1, Version: i + 1, EventID: uuid.New(), CommandID: uuid.New(),
			OccurredAt: 1_738_555_506_000_000 + i*i, PrevHash: prev,
			Meta: []byte("{\u2028\"a\":\"\\u0000\"}"), Data: fmt.Appendf(nil, "{\"n\":\"№ %d \U0001f511\\\"\t\r\n\x7f\"}", i),
		}
		sum := eventstore.Hash(&event)
		prev = sum[:]
		event.Hash = prev
		line, err := event.ExportLine()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line)+"\n")
	}
	return lines
}

// anchor is the first line of an export that begins after an event.
func anchor(t *testing.T, line string) string {
	t.Helper()
	var event exported
	if err := json.Unmarshal([]byte(line), &event); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"anchor":{"position":%d,"hash":"%s"}}`+"\n", event.Position, event.Hash)
}
