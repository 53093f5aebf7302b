package keys_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/archonhq/archon/domain/keys"
)

const keyID = "0190a1b2-0000-7000-8000-000000000001"

func secretOf(fill byte) string {
	return keys.Secret([keys.SecretBytes]byte(slices.Repeat([]byte{fill}, keys.SecretBytes)))
}

func ExampleParse() {
	token := keys.Token("acme", "0190a1b2-0000-7000-8000-000000000001", secretOf(7))
	fmt.Println(token)
	tenant, id, secret, ok := keys.Parse(token)
	fmt.Println(tenant, id, keys.Hint(secret), ok)
	// Output:
	// ak_acme.0190a1b2-0000-7000-8000-000000000001.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc
	// acme 0190a1b2-0000-7000-8000-000000000001 HBwc true
}

func TestEveryTenantsKeysParse(t *testing.T) {
	t.Parallel()
	for _, tenant := range []string{"a", "0", "a-b_c", "x_", "x-", "ak_x", strings.Repeat("t", 63)} {
		for _, fill := range []byte{0, 0xfb, 0xff} { // base64url's - and _ among them
			token := keys.Token(tenant, keyID, secretOf(fill))
			gotTenant, id, secret, ok := keys.Parse(token)
			if !ok || gotTenant != tenant || id != keyID || secret != secretOf(fill) {
				t.Errorf("%s: got %q, %q, %q, %v", token, gotTenant, id, secret, ok)
			}
		}
	}
}

func TestWhatIsNoKeyDoesNotParse(t *testing.T) {
	t.Parallel()
	secret := secretOf(1)
	good := keys.Token("acme", keyID, secret)
	for what, token := range map[string]string{
		"nothing": "", "the prefix": "ak_", "another prefix": "sk" + good[2:], "an upper-case prefix": "AK" + good[2:],
		"no tenant": keys.Token("", keyID, secret), "an upper-case tenant": keys.Token("Acme", keyID, secret),
		"a tenant with a dot": keys.Token("a.b", keyID, secret), "a tenant that begins with _": keys.Token("_a", keyID, secret),
		"a tenant that begins with -": keys.Token("-a", keyID, secret), "a long tenant": keys.Token(strings.Repeat("t", 64), keyID, secret),
		"no id": keys.Token("acme", "", secret), "an upper-case id": keys.Token("acme", strings.ToUpper(uuid.Max.String()), secret),
		"an id in braces": keys.Token("acme", "{"+keyID+"}", secret), "an id without dashes": keys.Token("acme", strings.ReplaceAll(keyID, "-", ""), secret),
		"no secret": keys.Token("acme", keyID, ""), "no dot before the secret": strings.TrimSuffix(keys.Token("acme", keyID, ""), "."),
		"a short secret": good[:len(good)-1], "a long secret": good + "A", "a padded secret": good + "=", "space after it": good + " ", "space before it": " " + good,
		"a newline in it": good[:len(good)-1] + "\n", "base64 of the other alphabet": keys.Token("acme", keyID, strings.Repeat("+", 43)),
		"bits that stand for nothing": good[:len(good)-1] + "F", "very much": "ak_" + strings.Repeat("a", 1<<20),
	} {
		if tenant, id, sent, ok := keys.Parse(token); ok || tenant+id+sent != "" {
			t.Errorf("%s: %q, %q, %q, %v", what, tenant, id, sent, ok)
		}
	}
}

// What parses is spelt in exactly one way, so that a cache by token and a lookup by its parts agree.
func FuzzParse(f *testing.F) {
	f.Add(keys.Token("acme", keyID, secretOf(1)))
	f.Add("ak_a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if tenant, id, secret, ok := keys.Parse(token); ok && keys.Token(tenant, id, secret) != token {
			t.Fatalf("%q is also %q", token, keys.Token(tenant, id, secret))
		}
	})
}

func TestHashIsSHA256OfTheSecretsText(t *testing.T) {
	t.Parallel()
	encoded, err := json.Marshal(keys.Hash("abc"))
	if err != nil || string(encoded) != `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"` {
		t.Errorf("got %s, %v", encoded, err)
	}
	var back keys.Digest
	if err := json.Unmarshal(encoded, &back); err != nil || back != keys.Hash("abc") {
		t.Errorf("got %x, %v", back, err)
	}
	for _, bad := range []string{`""`, `"ba"`, `"` + strings.Repeat("x", 64) + `"`, `7`} {
		if json.Unmarshal([]byte(bad), &back) == nil {
			t.Errorf("%s was taken for a hash", bad)
		}
	}
}
