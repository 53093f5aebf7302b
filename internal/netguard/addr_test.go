package netguard_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/archonhq/archon/internal/netguard"
)

func everything() netguard.Policy {
	return netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
}

func loopback() netguard.Policy {
	return netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}
}

func TestCheckAddr(t *testing.T) {
	t.Parallel()

	const public, openable, never = "public", "openable", "never"

	for class, addresses := range map[string]string{
		public: `1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
			169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0
			198.17.255.255 198.20.0.0 223.255.255.255 168.63.129.15
			2606:4700::1111 2001:4860:4860::8888 2001:200:: 3fff:1000::
			::ffff:8.8.8.8 ::8.8.8.8 ::ffff:0:8.8.8.8 64:ff9b::808:808 2002:808:808::1
			2001:0:808:808:0:0:f7f7:f7f7`,
		openable: `0.0.0.0 0.1.2.3 10.0.0.0 10.255.255.255 100.64.0.0 100.127.255.255 127.0.0.1 127.255.255.255
			172.16.0.0 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.0 192.168.255.255 198.18.0.0
			198.19.255.255 198.51.100.7 203.0.113.7 240.0.0.1 255.255.255.254
			:: ::1 fc00::1 fd12:3456::1 fec0::1 2001:db8::1 3fff::1 2001:2::1 2001:20::1 100::1 5f00::1 64:ff9b:1::1
			4000::1 1000::1
			::ffff:127.0.0.1 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::1 ::ffff:10.0.0.1 64:ff9b::a00:1
			2001:0:7f00:1:0:0:f7f7:f7f7 2001:0:808:808:0:0:80ff:fffe`,
		never: `169.254.0.1 169.254.169.254 169.254.170.2 169.254.255.255 100.100.100.200 192.0.0.192 168.63.129.16
			224.0.0.1 239.255.255.255 255.255.255.255
			fe80::1 febf::1 fe80::1%eth0 ff02::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:42::42
			::ffff:169.254.169.254 ::169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 64:ff9b::c000:c0
			2001:0:a9fe:a9fe:0:0:f7f7:f7f7 2001:0:808:808:0:0:5601:5601`,
	} {
		for address := range strings.FieldsSeq(addresses) {
			addr := netip.MustParseAddr(address)
			strict := netguard.Policy{}.CheckAddr(addr)
			open := everything().CheckAddr(addr)

			if (strict == nil) != (class == public) {
				t.Errorf("%s is %s; the strict policy says %v", address, class, strict)
			}

			if (open == nil) != (class != never) {
				t.Errorf("%s is %s; the open policy says %v", address, class, open)
			}

			for _, err := range []error{strict, open} {
				checkRefusal(t, err, address)
			}
		}
	}
}

func checkRefusal(t *testing.T, err error, secret string) {
	t.Helper()

	if err == nil {
		return
	}

	var refusal *netguard.Refusal
	if !errors.As(err, &refusal) || !errors.Is(err, netguard.ErrRefused) || refusal.Reason == "" {
		t.Errorf("%v is not a Refusal with a reason", err)
	}

	if strings.Contains(err.Error(), secret) {
		t.Errorf("%q echoes %q", err, secret)
	}
}

func TestCheckAddrOpensOnlyWhatIsListed(t *testing.T) {
	t.Parallel()

	policy := netguard.Policy{Allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}

	for address, allowed := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "64:ff9b::a01:203": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "169.254.169.254": false, "8.8.8.8": true,
	} {
		if err := policy.CheckAddr(netip.MustParseAddr(address)); (err == nil) != allowed {
			t.Errorf("%s: allowed should be %t, got %v", address, allowed, err)
		}
	}

	if policy.CheckAddr(netip.Addr{}) == nil {
		t.Error("the zero Addr must be refused")
	}
}

func TestControl(t *testing.T) {
	t.Parallel()

	for _, example := range []struct {
		network, address string
		allowed          bool
	}{
		{"tcp4", "127.0.0.1:80", true},
		{"tcp6", "[::1]:80", true},
		{"tcp4", "10.0.0.1:80", false},
		{"tcp6", "[fe80::1%lo]:80", false},
		{"udp4", "127.0.0.1:53", false},
		{"unix", "/run/secret.sock", false},
		{"tcp", "localhost:80", false},
	} {
		err := loopback().Control(example.network, example.address, nil)
		if (err == nil) != example.allowed {
			t.Errorf("%s %s: got %v", example.network, example.address, err)
		}

		checkRefusal(t, err, example.address)
	}
}
