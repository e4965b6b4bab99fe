package keys_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"permafrost/repo/keys"
)

// secrets returns, as print verbs and encoders would show them, what of k must not be shown.
func secrets(k *keys.Keyring) []string {
	var raw [][]byte
	text := []string{}
	if k.Identity != nil {
		text = append(text, k.Identity.String())
	}
	raw = append(raw, k.SignKey.Seed())
	for _, e := range k.Epochs {
		raw = append(raw, e.DataKey[:], e.MetaKey[:], e.DerivationKey[:])
		text = append(text, e.MetaIdentity.String(), fmt.Sprint(e.Polynomial), fmt.Sprintf("%x", e.Polynomial), fmt.Sprintf("%o", e.Polynomial), fmt.Sprintf("%b", e.Polynomial))
		if e.DataIdentity != nil {
			text = append(text, e.DataIdentity.String())
		}
	}
	for _, r := range raw {
		text = append(text, string(r), hex.EncodeToString(r), base64.StdEncoding.EncodeToString(r)[:40],
			strings.Trim(fmt.Sprint(r), "[]"), strings.Trim(fmt.Sprintf("%o", r), "[]"), strings.Trim(fmt.Sprintf("%b", r), "[]"),
			strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", r), "[]byte{"), "}"), fmt.Sprintf("%U", r)[1:], strings.ReplaceAll(strings.Trim(fmt.Sprint(r), "[]"), " ", ","))
	}
	for i, s := range text {
		text[i] = strings.ToLower(s)
	}
	return text
}

func TestSecretsAreNotPrinted(t *testing.T) {
	owner := newOwner(t, 2)
	writer := newWriter(t, owner, "web1")
	for _, k := range []*keys.Keyring{owner, writer} {
		hidden := secrets(k)
		id := keys.Identity{Keyring: k}
		bare := keys.Identity{Identities: k.MetaIdentities()}
		bud := *k
		bud.Epochs = nil
		values := map[string]any{
			"without epochs": bud,
			"pointer":        k, "value": *k, "epoch": k.Epochs[0], "epoch pointer": &k.Epochs[0], "epochs": k.Epochs,
			"identity": id, "identity pointer": &id, "bare identity": bare, "bare identity pointer": &bare,
			"field": struct{ K *keys.Keyring }{k}, "value field": struct{ K keys.Keyring }{*k}, "map": map[string]keys.Keyring{"k": *k},
		}
		for what, v := range values {
			var out strings.Builder
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%t", "%e", "%z", "%10.3v"} {
				fmt.Fprintf(&out, verb+"\n", v)
			}
			if what != "bare identity" && what != "bare identity pointer" {
				j, err := json.Marshal(v)
				if err == nil {
					t.Errorf("%s: was marshalled as JSON", what)
				}
				out.Write(j)
			}
			slog.New(slog.NewTextHandler(&out, nil)).Info("key", "key", v)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("key", "key", v)
			text := strings.ToLower(out.String())
			for _, s := range hidden {
				if strings.Contains(text, s) {
					t.Errorf("%s of %v shows a secret: %.80q", what, k, s)
				}
			}
		}
	}
	if s := fmt.Sprint(owner); !strings.Contains(s, "owner") || !strings.Contains(s, keys.RecoveryName) {
		t.Errorf("a keyring prints as %q", s)
	}
	// The test sees a secret where one is.
	if s := fmt.Sprintf("%d", [32]byte(writer.Epochs[0].DataKey)); !containsAny(s, secrets(writer)) {
		t.Error("the test is blind")
	}
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
