package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// checkVault finds contradictions between the Vault settings: there must be exactly one way to log in.
func checkVault(env environment) []string {
	isSet := func(name string) bool { return env[prefix+name] != "" }

	var problems []string

	problem := func(sentence string) { problems = append(problems, sentence) }

	for _, name := range []string{"VAULT_TOKEN", "VAULT_SECRET_ID"} {
		if isSet(name) && isSet(name+"_FILE") {
			problem(prefix + name + " and " + prefix + name + "_FILE are both set; remove one of them.")
		}
	}

	hasToken := isSet("VAULT_TOKEN") || isSet("VAULT_TOKEN_FILE")
	hasSecretID := isSet("VAULT_SECRET_ID") || isSet("VAULT_SECRET_ID_FILE")
	hasRole := isSet("VAULT_ROLE_ID")

	switch {
	case hasRole && !hasSecretID:
		problem("ARCHON_VAULT_ROLE_ID is set without a secret id; set ARCHON_VAULT_SECRET_ID or ARCHON_VAULT_SECRET_ID_FILE too.")
	case hasSecretID && !hasRole:
		problem("ARCHON_VAULT_SECRET_ID (or its _FILE) is set without a role; set ARCHON_VAULT_ROLE_ID too.")
	case hasToken && hasRole:
		problem("Both a Vault token and a Vault AppRole are set; remove ARCHON_VAULT_TOKEN and ARCHON_VAULT_TOKEN_FILE, " +
			"or ARCHON_VAULT_ROLE_ID and its secret id.")
	case isSet("VAULT_ADDR") && !hasToken && !hasRole:
		problem("ARCHON_VAULT_ADDR is set without a way to log in; set ARCHON_VAULT_TOKEN or ARCHON_VAULT_TOKEN_FILE, " +
			"or ARCHON_VAULT_ROLE_ID with ARCHON_VAULT_SECRET_ID.")
	}

	return problems
}

// unusedVault warns where a Vault is described but not addressed, since secrets then go to the local file.
func unusedVault(env environment) []Warning {
	if env[prefix+"VAULT_ADDR"] != "" {
		return nil
	}

	var warnings []Warning

	for _, s := range vaultSettings() {
		if env[s.variable()] != "" {
			warnings = append(warnings, Warning{
				Variable: s.variable(),
				Message:  s.variable() + " has no effect, because ARCHON_VAULT_ADDR is not set; set that to use Vault.",
			})
		}
	}

	return warnings
}

// insecureIssuer warns of an issuer whose keys travel unprotected over a network.
func insecureIssuer(issuer string) []Warning {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "http" || isLoopback(u.Hostname()) {
		return nil
	}

	const name = prefix + "OIDC_ISSUER"

	return []Warning{{
		Variable: name,
		Message: fmt.Sprintf("%s is an http:// address: whoever sits between here and %s can forge tokens; use https:// in production.",
			name, u.Hostname()),
	}}
}

// isLoopback says whether a host is this machine by its name alone; nothing is looked up.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}

	host = strings.ToLower(host)

	// RFC 6761 reserves the name and everything below it.
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
