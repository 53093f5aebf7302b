package privacy_test

import (
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// eventually is how long a spec waits for what comes soon, on a machine that is busy with other tests.
const eventually = 10 * time.Second

func TestPrivacy(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(eventually)
	RunSpecs(t, "Privacy")
}
