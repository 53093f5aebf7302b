package netguard_test

import (
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

func TestNetguard(t *testing.T) {
	// net/http reads these once a process; a client that asked them would find nobody there.
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("NO_PROXY", "")
	RegisterFailHandler(Fail)
	RunSpecs(t, "netguard")
}
