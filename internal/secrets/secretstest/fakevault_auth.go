package secretstest

import (
	"net/http"
	"time"

	"github.com/google/uuid"
)

// fakeToken is a service token. The zero value is a root token.
type fakeToken struct {
	ttl, maxTTL     time.Duration // 0: no end
	renewable       bool
	created, expiry time.Time
	renewals        int
}

// fakeRole is an AppRole role, by its role id.
type fakeRole struct {
	secretID    string
	ttl, maxTTL time.Duration
}

// AddRole makes an AppRole role whose tokens live for ttl, and at most maxTTL with renewals (0: no limit).
func (f *FakeVault) AddRole(ttl, maxTTL time.Duration) (roleID, secretID string) {
	f.mu.Lock()
	defer f.mu.Unlock()

	roleID, secretID = uuid.NewString(), uuid.NewString()
	f.roles[roleID] = fakeRole{secretID: secretID, ttl: ttl, maxTTL: maxTTL}

	return roleID, secretID
}

// CreateToken makes a token like AddRole's, without a login.
func (f *FakeVault) CreateToken(ttl, maxTTL time.Duration, renewable bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()

	return f.newToken(ttl, maxTTL, renewable)
}

func (f *FakeVault) newToken(ttl, maxTTL time.Duration, renewable bool) string {
	name := "hvs." + uuid.NewString()
	now := time.Now()
	f.tokens[name] = &fakeToken{ttl: ttl, maxTTL: maxTTL, renewable: renewable, created: now, expiry: now.Add(ttl)}

	return name
}

// RevokeTokens ends all tokens but the root token, as an operator's revoke does.
func (f *FakeVault) RevokeTokens() {
	f.mu.Lock()
	defer f.mu.Unlock()

	for name := range f.tokens {
		if name != f.root {
			delete(f.tokens, name)
		}
	}
}

// LiveTokens returns how many tokens, without the root token, have not ended.
func (f *FakeVault) LiveTokens() int {
	f.mu.Lock()
	defer f.mu.Unlock()

	live := 0

	for name, token := range f.tokens {
		if name != f.root && !token.ended(time.Now()) {
			live++
		}
	}

	return live
}

func (f *FakeVault) logIn(body map[string]any) answer {
	roleID, _ := body["role_id"].(string)

	role, known := f.roles[roleID]
	if !known {
		return refuse(http.StatusBadRequest, "invalid role or secret ID")
	}

	if body["secret_id"] != role.secretID {
		return refuse(http.StatusBadRequest, "invalid role or secret ID")
	}

	name := f.newToken(role.ttl, role.maxTTL, true)

	return f.tokens[name].auth(name)
}

func (t *fakeToken) ended(now time.Time) bool { return t.ttl > 0 && !now.Before(t.expiry) }

func (t *fakeToken) auth(name string) answer {
	return answer{status: http.StatusOK, frame: map[string]any{"data": nil, "auth": map[string]any{
		"client_token": name, "policies": []string{"archon", "default"}, "token_type": "service",
		"lease_duration": int(time.Until(t.expiry).Round(time.Second).Seconds()), "renewable": t.renewable,
	}}}
}

func (t *fakeToken) lookUp(now time.Time) answer {
	var (
		ttl        int
		expireTime any // null where the token has no end
	)

	if t.ttl > 0 {
		ttl, expireTime = int(t.expiry.Sub(now).Seconds()), timeText(t.expiry)
	}

	return ok(map[string]any{"ttl": ttl, "expire_time": expireTime, "renewable": t.renewable, "type": "service", "num_uses": 0})
}

// renew gives the token its ttl again, as far as the maximum allows. Vault, too, takes an increment as a wish.
func (t *fakeToken) renew(now time.Time, _ map[string]any) answer {
	if t.ttl == 0 || !t.renewable {
		return refuse(http.StatusBadRequest, "lease is not renewable")
	}

	t.expiry = now.Add(t.ttl)
	if end := t.created.Add(t.maxTTL); t.maxTTL > 0 && t.expiry.After(end) {
		t.expiry = end
	}

	t.renewals++

	return t.auth("")
}
