package cli_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// examples is where the examples of the documentation are, with the exact versions of OpenAI's clients.
const examples = "../../../docs/examples/openai"

// installBound is how long a client may take to be installed or compiled on a busy machine.
const installBound = 10 * time.Minute

// tool runs a program, and fails with a sentence that says what to do where it does not succeed.
func tool(dir, remedy, program string, args ...string) string {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), installBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "PIP_DISABLE_PIP_VERSION_CHECK=1", "NO_UPDATE_NOTIFIER=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		Fail(program + " " + strings.Join(args, " ") + ": " + err.Error() + "\n" + tailOf(out.String()) + "\n" + remedy)
	}
	return out.String()
}

// found is where a program is; without it the spec fails with a sentence that says how to get it.
func found(program, remedy string) string {
	GinkgoHelper()
	path, err := exec.LookPath(program)
	if err != nil {
		Fail(program + " is not on PATH. " + remedy + " `sh tools/setup.sh test` installs everything that tests need.")
	}
	return path
}

// kept is a folder in the project's .cache that build fills once for each content of the files that it depends on; later
// runs find it. Runs at the same time don't meet half-filled folders.
func kept(name string, build func(dir string), files ...string) string {
	GinkgoHelper()
	sum := sha256.New()
	for _, file := range files {
		content, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		sum.Write(content)
	}
	cache, err := filepath.Abs("../../../.cache/clients")
	Expect(err).NotTo(HaveOccurred())
	const enough = 12
	dir := filepath.Join(cache, name+"-"+hex.EncodeToString(sum.Sum(nil))[:enough])
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	Expect(os.MkdirAll(cache, 0o755)).To(Succeed())
	making, err := os.MkdirTemp(cache, "making-")
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = os.RemoveAll(making) }()
	build(making)
	if err := os.Rename(making, dir); err != nil {
		Expect(dir).To(BeADirectory(), "somebody else was faster, or: "+err.Error())
	}
	return dir
}

// copied puts copies of files into a folder.
func copied(dir string, files ...string) {
	GinkgoHelper()
	for _, file := range files {
		content, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.WriteFile(filepath.Join(dir, filepath.Base(file)), content, 0o644)).To(Succeed())
	}
}

// javascript is a folder from which `import OpenAI from 'openai'` works, and the program that runs it.
func javascript() (node, dir string) {
	GinkgoHelper()
	const remedy = "OpenAI's client for JavaScript runs on Node.js 18 or later: apt-get install nodejs npm, or brew install node."
	node, npm := found("node", remedy), found("npm", remedy)
	files := []string{examples + "/package.json", examples + "/package-lock.json"}
	dir = kept("javascript", func(dir string) {
		copied(dir, files...)
		tool(dir, "npm needs its registry, or a mirror of it (npm config set registry URL).",
			npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	}, files...)
	announce("JavaScript: openai "+versionIn(files[0], `"openai": "`, `"`), "Node.js "+strings.TrimSpace(tool(dir, remedy, node, "--version")))
	return node, dir
}

// python is the interpreter of a virtual environment in which `import openai` works.
func python() string {
	GinkgoHelper()
	const remedy = "OpenAI's client for Python takes Python 3.10 or later with venv: apt-get install python3 python3-venv, or brew install python3."
	system := found("python3", remedy)
	requirements := examples + "/requirements.txt"
	interpreter := filepath.Join(kept("python", func(dir string) {
		tool(dir, remedy, system, "-m", "venv", dir)
		copied(dir, requirements)
		tool(dir, "pip needs PyPI, or a mirror of it (pip config set global.index-url URL).",
			filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--no-input", "--requirement", "requirements.txt")
	}, requirements), "bin", "python")
	announce("Python: openai "+versionIn(requirements, "openai==", "\n"), strings.TrimSpace(tool("", remedy, interpreter, "--version")))
	return interpreter
}

// golang is the example in Go, compiled.
func golang() string {
	GinkgoHelper()
	const remedy = "The module proxy has to be reachable (go env GOPROXY)."
	compiler := found("go", "Go is what runs these tests.")
	source, err := filepath.Abs(examples)
	Expect(err).NotTo(HaveOccurred())
	program := filepath.Join(kept("go", func(dir string) {
		tool(source, remedy, compiler, "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, "chat"), ".")
	}, source+"/chat.go", source+"/go.mod", source+"/go.sum"), "chat")
	announce("Go: openai-go "+versionIn(source+"/go.mod", "openai-go/v3 ", "\n"), strings.TrimSpace(tool(source, remedy, compiler, "version")))
	return program
}

// announce says in the report, passed or failed, which client was driven.
func announce(client, on string) {
	AddReportEntry("client", client+" on "+on, ReportEntryVisibilityAlways)
}

// versionIn is what stands in a file between two texts.
func versionIn(file, before, after string) string {
	GinkgoHelper()
	content, err := os.ReadFile(file)
	Expect(err).NotTo(HaveOccurred())
	_, rest, found := strings.Cut(string(content), before)
	Expect(found).To(BeTrue(), file)
	version, _, _ := strings.Cut(rest, after)
	return version
}
