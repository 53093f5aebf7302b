package netguard_test

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/netguard"
)

func TestCheckURLAccepts(t *testing.T) {
	t.Parallel()

	for _, raw := range []string{
		"https://api.openai.com", "https://api.openai.com/", "https://api.openai.com/v1", "HTTPS://API.OpenAI.com/v1/",
		"http://example.com:8080/a/b", "http://8.8.8.8", "http://[2606:4700::1111]:443/v1", "https://my_host.example.com.",
		"http://example.com:1", "http://example.com:65535", "https://xn--bcher-kva.example", "http://ollama:11434",
		"https://example.com/@scope/v1", "https://1.example.com", "https://0xfeed.example.com", "https://a-1",
		"https://example.com/" + strings.Repeat("a", netguard.MaxURLBytes-len("https://example.com/")),
	} {
		parsed, err := netguard.Policy{}.CheckURL(raw)
		if err != nil {
			t.Errorf("%q is refused: %v", raw, err)

			continue
		}

		if parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" {
			t.Errorf("%q parsed as %v", raw, parsed)
		}
	}
}

func TestCheckURLRefuses(t *testing.T) {
	t.Parallel()

	const (
		scheme, spaces, spelling = "only http and https", "space, line break or control", "usual form"
		noHost, badName, loop    = "has no host", "no valid host name", "a loopback address"
		metadata                 = "a cloud metadata"
	)

	for raw, reason := range map[string]string{
		"":                                                "empty",
		"api.openai.com":                                  "must begin with",
		"//api.openai.com":                                "must begin with",
		"/v1":                                             "must begin with",
		"file:///etc/passwd":                              scheme,
		"javascript:alert(1)":                             scheme,
		"data:text/plain,hello":                           scheme,
		"gopher://example.com":                            scheme,
		"ftp://example.com":                               scheme,
		"unix:///run/docker.sock":                         scheme,
		"http:example.com":                                noHost,
		"http://":                                         noHost,
		"http:///v1":                                      noHost,
		"http://:8080":                                    noHost,
		"http://user@example.com":                         "user name or password",
		"http://user:hunter22@example.com":                "user name or password",
		"http://@example.com":                             "user name or password",
		"http://example.com?":                             "a query",
		"http://example.com/v1?key=hunter22":              "a query",
		"http://example.com#":                             "a fragment",
		"http://example.com/v1#frag":                      "a fragment",
		"http://example.com:":                             "empty port",
		"http://example.com:0":                            "between 1 and 65535",
		"http://example.com:65536":                        "between 1 and 65535",
		"http://example.com:99999999999999":               "between 1 and 65535",
		"http://example.com:http":                         "not a valid URL",
		"http://example.com:-1":                           "not a valid URL",
		"http://exa mple.com":                             spaces,
		" http://example.com":                             spaces,
		"http://example.com\n":                            spaces,
		"http://example.com/\r\nX-Evil: 1":                spaces,
		"http://example.com/\x00":                         spaces,
		"http://example.com/\u202egpj":                    spaces,
		"http://exa\u200bmple.com":                        spaces,
		"http://example.com/%0d%0aX-Evil":                 "escaped control",
		"http://example.com/%00":                          "escaped control",
		"http://example.com/%zz":                          "not a valid URL",
		"http://example.com/\xff":                         "UTF-8",
		`http://example.com\@evil.example`:                "backslash",
		"http://bücher.example":                           "ASCII form",
		"http://１２７.０.０.１":                                "ASCII form",
		"http://127。0。0。1":                                "ASCII form",
		"http://%31%32%37.0.0.1":                          "not a valid URL",
		"http://a..b":                                     badName,
		"http://.":                                        badName,
		"http://exam!ple.com":                             badName,
		"http://" + strings.Repeat("a", 64) + ".com":      badName,
		"http://" + strings.Repeat("a.", 127) + "com":     badName,
		"http://a/" + strings.Repeat("a", 2048):           "longer than 2048 bytes",
		"http://127.0.0.1":                                loop,
		"http://127.8.8.8:11434/v1":                       loop,
		"http://[::1]":                                    loop,
		"http://[::ffff:127.0.0.1]":                       loop,
		"http://[::ffff:7f00:1]":                          loop,
		"http://[64:ff9b::7f00:1]":                        loop,
		"http://localhost":                                loop,
		"http://LOCALHOST.:80":                            loop,
		"http://api.localhost":                            loop,
		"http://localhost.localdomain":                    loop,
		"http://ip6-loopback":                             loop,
		"http://10.0.0.1":                                 "a private address",
		"http://[fd00::1]":                                "a private address",
		"http://0.0.0.0":                                  "an unspecified address",
		"http://[::]":                                     "an unspecified address",
		"http://2130706433":                               spelling,
		"http://0x7f000001":                               spelling,
		"http://0X7F.1":                                   spelling,
		"http://017700000001":                             spelling,
		"http://0177.0.0.1":                               spelling,
		"http://127.1":                                    spelling,
		"http://127.0.1":                                  spelling,
		"http://127.0.0.01":                               spelling,
		"http://127.0.0.0x1":                              spelling,
		"http://127.0.0.1.":                               spelling,
		"http://0":                                        spelling,
		"http://0x":                                       spelling,
		"http://256.256.256.256":                          spelling,
		"http://8.8.2056":                                 spelling,
		"http://169.254.169.254/latest/meta-data":         metadata,
		"http://[fd00:ec2::254]":                          metadata,
		"http://[::ffff:a9fe:a9fe]":                       metadata,
		"http://100.100.100.200":                          metadata,
		"http://metadata.google.internal/computeMetadata": metadata,
		"http://Metadata.Google.Internal.":                metadata,
		"http://metadata":                                 metadata,
		"http://instance-data":                            metadata,
		"http://169.254.1.1":                              "a link-local address",
		"http://[fe80::1]":                                "a link-local address",
		"http://[fe80::1%25eth0]":                         "a zone",
		"http://[2606:4700::1111%25eth0]":                 "a zone",
		"http://224.0.0.1":                                "a multicast address",
		"http://255.255.255.255":                          "a broadcast address",
	} {
		_, err := netguard.Policy{}.CheckURL(raw)
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q should be refused with %q, got %v", raw, reason, err)
		}

		if raw != "" && len(raw) > len("http://0x") {
			checkRefusal(t, err, raw)
		}

		if err != nil && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%v holds a password", err)
		}
	}
}

func TestCheckURLFollowsThePolicy(t *testing.T) {
	t.Parallel()

	onlyV6 := netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("::1/128")}}

	for _, example := range []struct {
		policy  netguard.Policy
		raw     string
		allowed bool
	}{
		{loopback(), "http://127.0.0.1:11434", true},
		{loopback(), "http://localhost:11434/v1", true},
		{loopback(), "http://ollama.localhost", true},
		{loopback(), "http://[::1]:8000", true},
		{loopback(), "http://10.0.0.1", false},
		{loopback(), "http://127.1", false},
		{loopback(), "http://169.254.169.254", false},
		{onlyV6, "http://localhost", true},
		{onlyV6, "http://127.0.0.1", false},
		{everything(), "http://10.0.0.1", true},
		{everything(), "http://metadata.google.internal", false},
		{everything(), "http://[fd00:ec2::254]", false},
	} {
		if _, err := example.policy.CheckURL(example.raw); (err == nil) != example.allowed {
			t.Errorf("%q: allowed should be %t, got %v", example.raw, example.allowed, err)
		}
	}
}

// FuzzCheckURL looks for a URL that gets through although it is none of ours,
// or for a reason that quotes it.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://api.openai.com/v1", "http://[::ffff:127.0.0.1]:80/", "http://0x7f.1", "http://a%20b",
		"http://user:pass@host", "http://127.1#", "http://１２７.０.０.１", "http://[fe80::1%25a]", "file:///etc", "http://a:0",
	} {
		f.Add(seed)
	}

	f.Fuzz(func(t *testing.T, raw string) {
		parsed, err := netguard.Policy{}.CheckURL(raw)
		if err != nil {
			if len(raw) > len("http://") && strings.Contains(err.Error(), raw) {
				t.Errorf("%q echoes its input", err)
			}

			return
		}

		checkAccepted(t, raw, parsed)
	})
}

func checkAccepted(t *testing.T, raw string, parsed *url.URL) {
	t.Helper()

	if parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Hostname() == "" ||
		parsed.User != nil || parsed.RawQuery != "" || parsed.Fragment != "" || len(raw) > netguard.MaxURLBytes {
		t.Errorf("%q was accepted as %#v", raw, parsed)
	}

	addr, isAddr := inetAton(strings.ToLower(parsed.Hostname()))
	if isAddr && (netguard.Policy{}).CheckAddr(addr) != nil {
		t.Errorf("%q was accepted and is %v to a resolver", raw, addr)
	}

	if _, err := url.Parse(parsed.String()); err != nil {
		t.Errorf("%q does not survive a round trip: %v", raw, err)
	}
}

// inetAton reads an address as the C library does, independently of the code under test.
func inetAton(host string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, true
	}

	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}

	var value uint64

	for i, part := range parts {
		number, err := strconv.ParseUint(part, 0, 32)
		if err != nil || strings.ContainsAny(part, "_ob") {
			return netip.Addr{}, false
		}

		if i == len(parts)-1 {
			value |= number
		} else {
			value |= number << (24 - 8*i)
		}
	}

	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}
