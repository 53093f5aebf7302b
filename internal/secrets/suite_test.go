package secrets_test

import (
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// eventually is how long a spec waits for what comes soon, on a machine that is busy with other tests.
const eventually = 10 * time.Second

func TestSecrets(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(eventually)
	RunSpecs(t, "Secrets")
}

// TestMain lets the test program play another process on the same store; see crash_test.go.
func TestMain(m *testing.M) {
	if job := os.Getenv(childJobVariable); job != "" {
		os.Exit(runChild(job))
	}

	os.Exit(m.Run())
}
