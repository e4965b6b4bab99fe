package wayback

import (
	"context"
	"strings"
	"testing"
)

// A server lets in with a password of which it was given the verifier alone.
func TestVerifier(t *testing.T) {
	for name, password := range map[string]string{"plain": `x7!k '\"$PATH`, "letters": "Grüße aus 京都", "not text": "a\xff", "long": strings.Repeat("ab", 100)} {
		t.Run(name, func(t *testing.T) {
			role := "verified_" + strings.ReplaceAll(name, " ", "_")
			v, err := Verifier(password)
			if err != nil {
				t.Fatal(err)
			}
			sql(t, "postgres", "create role "+role+" login password '"+v+"'")
			for _, p := range []string{password, password + "x"} {
				cmd := cluster.Command(context.Background(), "psql", "-X", "-w", "-U", role, "-d", "postgres", "-Atc", "select current_user")
				cmd.Env = append(cmd.Env, "PGPASSWORD="+p)
				if out, err := cmd.CombinedOutput(); (string(out) == role+"\n" && err == nil) != (p == password) {
					t.Errorf("with the password %q psql says %q, %v", p, out, err)
				}
			}
		})
	}
	for _, bad := range []string{"", "a\x00b", "\ufb01ne", "no\u00a0break", "soft\u00adhyphen", "e\u0301", strings.Repeat("x", 1024)} {
		if _, err := Verifier(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
