package httpx

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientIP is the address of whoever sent the request to the first of our proxies. X-Forwarded-For is read from the right
// and believed only as far as trusted proxies wrote it: what stands left of the first untrusted address is the client's own
// claim.
func clientIP(r *http.Request, trusted []netip.Prefix) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	client := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !isTrusted(client, trusted) {
			break
		}
		next, ok := parseHop(hop)
		if !ok {
			break
		}
		client = next
	}
	return client.String()
}

// parseHop reads one entry of X-Forwarded-For, which some proxies write with a port.
func parseHop(hop string) (netip.Addr, bool) {
	text := strings.TrimSpace(hop)
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap().WithZone(""), err == nil
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}
