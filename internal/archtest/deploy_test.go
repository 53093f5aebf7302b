package archtest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// These tests read the deployment files as a person would who looks for what is missing. Whether the compose file is valid
// at all is `task lint:compose`'s business; whether the containers come up, only an engine can tell.

type composeFile struct {
	Services map[string]service `yaml:"services"`
}

type service struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Restart     string            `yaml:"restart"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck struct {
		Test    []string `yaml:"test"`
		Disable bool     `yaml:"disable"`
	} `yaml:"healthcheck"`
	Networks map[string]struct {
		Aliases []string `yaml:"aliases"`
	} `yaml:"networks"`
}

// oneShot says that the service runs to its end: nothing asks for its health, others wait for its exit code.
func (s service) oneShot() bool { return s.Healthcheck.Disable && s.Restart == "no" }

func TestComposeHasEveryPartAndKnowsItsHealth(t *testing.T) {
	t.Parallel()

	compose := readCompose(t)

	images := map[string]string{
		"postgres": "pgvector/pgvector:pg16",
		"redis":    "redis:7",
		"vault":    "hashicorp/vault:1.",
		"keycloak": "quay.io/keycloak/keycloak:26.",
		"migrate":  "archon:",
		"archon":   "archon:",
	}
	for name, image := range images {
		if !strings.HasPrefix(compose.Services[name].Image, image) {
			t.Errorf("service %s: image is %q, want %s…", name, compose.Services[name].Image, image)
		}
	}

	for name, s := range compose.Services {
		if len(s.Healthcheck.Test) == 0 && !s.oneShot() {
			t.Errorf("service %s has no health check", name)
		}

		if strings.HasSuffix(s.Image, ":latest") || !strings.Contains(s.Image, ":") {
			t.Errorf("service %s: %q will be another program tomorrow", name, s.Image)
		}

		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "${ARCHON_BIND:-127.0.0.1}:") {
				t.Errorf("service %s publishes %s to the world, and its passwords are public", name, port)
			}
		}
	}
}

func TestComposeStartsArchonAfterWhatItNeeds(t *testing.T) {
	t.Parallel()

	compose := readCompose(t)
	archon := compose.Services["archon"]

	for name, condition := range map[string]string{
		"postgres": "service_healthy", "redis": "service_healthy", "vault": "service_healthy", "keycloak": "service_healthy",
		"migrate": "service_completed_successfully",
	} {
		if archon.DependsOn[name].Condition != condition {
			t.Errorf("archon waits for %s: %q, want %q", name, archon.DependsOn[name].Condition, condition)
		}
	}

	if !compose.Services["migrate"].oneShot() {
		t.Error("migrate is waited for, so it must end: no restart, no health check")
	}

	for _, port := range []string{"8080:8080", "8000:8080"} {
		if !slices.ContainsFunc(archon.Ports, func(p string) bool { return strings.HasSuffix(p, ":"+port) }) {
			t.Errorf("archon does not publish %s, only %q", port, archon.Ports)
		}
	}

	// The image has neither shell nor curl.
	if len(archon.Healthcheck.Test) < 3 || archon.Healthcheck.Test[0] != "CMD" || archon.Healthcheck.Test[1] != "/archon" {
		t.Errorf("archon's health check is %q, want it to ask itself", archon.Healthcheck.Test)
	}
}

// A token's iss, the discovery URL and the address in the browser's bar must be one text, inside and outside the network.
func TestComposeNamesTheIssuerTheSameEverywhere(t *testing.T) {
	t.Parallel()

	compose := readCompose(t)
	keycloak := compose.Services["keycloak"]
	hostname := keycloak.Environment["KC_HOSTNAME"]

	if issuer := compose.Services["archon"].Environment["ARCHON_OIDC_ISSUER"]; issuer != hostname+"/realms/"+readRealm(t).Realm {
		t.Errorf("archon expects %s, Keycloak calls itself %s", issuer, hostname)
	}

	host, port, _ := strings.Cut(strings.TrimPrefix(hostname, "http://"), ":")
	if !slices.Contains(keycloak.Networks["default"].Aliases, host) {
		t.Errorf("inside the network %s leads nowhere", host)
	}

	if keycloak.Environment["KC_HTTP_PORT"] != port || len(keycloak.Ports) != 1 || !strings.HasSuffix(keycloak.Ports[0], ":"+port+":"+port) {
		t.Errorf("the port is not %s on both sides: %q, %q", port, keycloak.Environment["KC_HTTP_PORT"], keycloak.Ports)
	}
}

func TestComposeLogsInWithTheRoleThatTheDatabaseIsMadeWith(t *testing.T) {
	t.Parallel()

	url := readCompose(t).Services["archon"].Environment["ARCHON_DATABASE_URL"]

	login := regexp.MustCompile(`^postgres://archon_app:([^@]+)@postgres:5432/archon`).FindStringSubmatch(url)
	if login == nil {
		t.Fatalf("archon logs in as somebody else: %s", url)
	}

	if !strings.Contains(read(t, "deploy/postgres/init.sql"), "create role archon_app login noinherit password '"+login[1]+"'") {
		t.Error("deploy/postgres/init.sql does not make archon_app with that password")
	}
}

type realmFile struct {
	Realm   string     `json:"realm"`
	Clients []kcClient `json:"clients"`
	// ClientScopes must stay empty: naming any makes Keycloak leave out its own, among them the one with `sub`.
	ClientScopes []any `json:"clientScopes"`
	Users        []struct {
		Username    string              `json:"username"`
		Email       string              `json:"email"`
		FirstName   string              `json:"firstName"`
		LastName    string              `json:"lastName"`
		Attributes  map[string][]string `json:"attributes"`
		RealmRoles  []string            `json:"realmRoles"`
		Credentials []struct {
			Value string `json:"value"`
		} `json:"credentials"`
	} `json:"users"`
	Roles struct {
		Realm []struct {
			Name string `json:"name"`
		} `json:"realm"`
	} `json:"roles"`
	Components map[string][]struct {
		Config map[string][]string `json:"config"`
	} `json:"components"`
}

type kcClient struct {
	ClientID        string            `json:"clientId"`
	PublicClient    bool              `json:"publicClient"`
	StandardFlow    bool              `json:"standardFlowEnabled"`
	DirectGrants    bool              `json:"directAccessGrantsEnabled"`
	RedirectURIs    []string          `json:"redirectUris"`
	Attributes      map[string]string `json:"attributes"`
	ProtocolMappers []struct {
		ProtocolMapper string            `json:"protocolMapper"`
		Config         map[string]string `json:"config"`
	} `json:"protocolMappers"`
}

func TestRealmPutsTenantRolesAndAudienceIntoTokens(t *testing.T) {
	t.Parallel()

	realm := readRealm(t)

	if len(realm.ClientScopes) > 0 {
		t.Error("the realm names client scopes: Keycloak then makes none of its own, and tokens lose `sub`")
	}

	for _, id := range []string{"archon", "archon-cli"} {
		at := slices.IndexFunc(realm.Clients, func(c kcClient) bool { return c.ClientID == id })
		if at < 0 {
			t.Fatalf("no client %s", id)
		}

		for _, claim := range []struct{ mapper, setting, value string }{
			{"oidc-usermodel-attribute-mapper", "claim.name", "tenant_id"},
			{"oidc-usermodel-realm-role-mapper", "claim.name", "roles"},
			{"oidc-audience-mapper", "included.custom.audience", "archon"},
		} {
			if !hasMapper(realm.Clients[at], claim.mapper, claim.setting, claim.value) {
				t.Errorf("client %s: no %s with %s = %s in the access token", id, claim.mapper, claim.setting, claim.value)
			}
		}
	}
}

func hasMapper(c kcClient, mapper, setting, value string) bool {
	for _, m := range c.ProtocolMappers {
		if m.ProtocolMapper == mapper && m.Config[setting] == value {
			return m.Config["access.token.claim"] == "true"
		}
	}

	return false
}

func TestRealmClientsAllowOnlyTheirOwnFlow(t *testing.T) {
	t.Parallel()

	for _, c := range readRealm(t).Clients {
		switch c.ClientID {
		case "archon":
			if !c.PublicClient || !c.StandardFlow || c.DirectGrants || c.Attributes["pkce.code.challenge.method"] != "S256" ||
				!slices.Contains(c.RedirectURIs, "http://localhost:8080/*") {
				t.Errorf("the browser's client: want the code flow with PKCE and nothing else, got %+v", c)
			}
		case "archon-cli":
			if !c.PublicClient || c.StandardFlow || !c.DirectGrants || len(c.RedirectURIs) > 0 {
				t.Errorf("curl's client: want the direct grant and nothing else, got %+v", c)
			}
		default:
			t.Errorf("what is client %s for?", c.ClientID)
		}
	}
}

func TestRealmHasUsersOfEveryRoleAndTwoTenants(t *testing.T) {
	t.Parallel()

	realm := readRealm(t)
	tenants, granted := map[string]bool{}, map[string]bool{}

	for _, user := range realm.Users {
		// Without a complete profile Keycloak answers "Account is not fully set up".
		if user.Email == "" || user.FirstName == "" || user.LastName == "" || len(user.Credentials) != 1 || len(user.Attributes["tenant_id"]) != 1 {
			t.Errorf("user %s is incomplete", user.Username)

			continue
		}

		tenants[user.Attributes["tenant_id"][0]] = true

		for _, role := range user.RealmRoles {
			granted[role] = true
		}
	}

	if len(tenants) < 2 {
		t.Errorf("want users of two tenants, got %v", tenants)
	}

	for _, role := range []string{"viewer", "operator", "admin", "auditor"} {
		if !granted[role] {
			t.Errorf("no user has the role %s", role)
		}
	}

	if len(realm.Roles.Realm) != len(granted) {
		t.Errorf("the realm has %d roles, users have %d", len(realm.Roles.Realm), len(granted))
	}
}

// Who could edit the own tenant could read anybody's data.
func TestRealmLetsOnlyAdministratorsSetTheTenant(t *testing.T) {
	t.Parallel()

	components := readRealm(t).Components["org.keycloak.userprofile.UserProfileProvider"]
	if len(components) != 1 || len(components[0].Config["kc.user.profile.config"]) != 1 {
		t.Fatal("no user profile: Keycloak would drop the undeclared attribute tenant_id")
	}

	var profile struct {
		UnmanagedAttributePolicy string `json:"unmanagedAttributePolicy"`
		Attributes               []struct {
			Name        string `json:"name"`
			Permissions struct {
				Edit []string `json:"edit"`
			} `json:"permissions"`
		} `json:"attributes"`
	}

	err := json.Unmarshal([]byte(components[0].Config["kc.user.profile.config"][0]), &profile)
	if err != nil {
		t.Fatalf("read the user profile: %v", err)
	}

	declared := false

	for _, attribute := range profile.Attributes {
		if attribute.Name == "tenant_id" {
			declared = slices.Equal(attribute.Permissions.Edit, []string{"admin"})
		}
	}

	if !declared || profile.UnmanagedAttributePolicy != "" {
		t.Error("tenant_id must be declared and editable by administrators alone")
	}
}

func TestImageIsBuiltWithTheProjectsGoAndRunsUnprivileged(t *testing.T) {
	t.Parallel()

	dockerfile := read(t, "Dockerfile")

	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))
	if version == nil || !strings.Contains(dockerfile, "ARG GO_VERSION="+version[1]+"\n") {
		t.Errorf("the Dockerfile does not build with go.mod's version %q", version)
	}

	for _, want := range []string{"CGO_ENABLED=0", "\nUSER 65532:65532\n", "\nHEALTHCHECK ", `CMD ["/archon", "health"]`, `ENTRYPOINT ["/archon"]`} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
}

func readCompose(t *testing.T) composeFile {
	t.Helper()

	var compose composeFile

	err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &compose)
	if err != nil {
		t.Fatalf("read docker-compose.yml: %v", err)
	}

	return compose
}

func readRealm(t *testing.T) realmFile {
	t.Helper()

	var realm realmFile

	err := json.Unmarshal([]byte(read(t, "deploy/keycloak/archon-realm.json")), &realm)
	if err != nil {
		t.Fatalf("read the realm: %v", err)
	}

	return realm
}

func read(t *testing.T, name string) string {
	t.Helper()

	content, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}

	return string(content)
}
