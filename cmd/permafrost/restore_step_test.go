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

// The password file is one that libpq reads as the password of the settings, whatever its characters.
func TestStepPassfile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	for settings, want := range map[string]string{
		`DB_PASS='a:b\c d'`:        `*:*:*:*:a\:b\\c d` + "\n",
		`DB_PASS="a` + "\n" + `b"`: "",
		"DB_USER=x":                "",
	} {
		if err := os.WriteFile(file, []byte(settings+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := newCommand(t, "restore-step", "passfile", "--settings", file).run(t)
		if r.stdout != want || (r.code == 0) != (want != "") || strings.Contains(r.stderr, "b") && want == "" && strings.Contains(r.stderr, "a\nb") {
			t.Errorf("%s: code %d, stdout %q, stderr %q", settings, r.code, r.stdout, r.stderr)
		}
	}
}
