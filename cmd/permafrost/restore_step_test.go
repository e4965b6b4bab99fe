package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The password is that of the settings as Mastodon reads them, and is itself nowhere in the output.
func TestStepPassword(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	want := regexp.MustCompile(`^alter role :"role" password 'SCRAM-SHA-256\$4096:[A-Za-z0-9+/=]{24}\$[A-Za-z0-9+/=]{44}:[A-Za-z0-9+/=]{44}';\n$`)
	for name, text := range map[string]string{
		"env.production":  "DB_PASS='hush hush'\n",
		".env.production": "LOCAL_DOMAIN=example.social\n",
		"url":             "DATABASE_URL=postgresql://mastodon:hush@db/x\n",
	} {
		write(".env", "DB_PASS=hush\n")
		r := newCommand(t, "restore-step", "password", "--settings", write(name, text)).run(t)
		if r.code != 0 || !want.MatchString(r.stdout) || r.stderr != "" {
			t.Errorf("%s: code %d, stdout %q, stderr %q", name, r.code, r.stdout, r.stderr)
		}
	}
	for name, text := range map[string]string{"none": "DB_USER=x\n", "ligature": "DB_PASS=hu\ufb01sh\n", "command": "DB_PASS=$(hush)\n"} {
		r := newCommand(t, "restore-step", "password", "--settings", write(name, text)).run(t)
		if r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, "hint: ") || strings.Contains(r.stderr, "hu") {
			t.Errorf("%s: code %d, stdout %q, stderr %q", name, r.code, r.stdout, r.stderr)
		}
	}
	if r := newCommand(t, "restore-step", "password", "--settings", filepath.Join(dir, "gone")).run(t); r.code != exitFailed {
		t.Errorf("a settings file that is not there: code %d, stderr %q", r.code, r.stderr)
	}
}
