package sums

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const sumsName = "SHA256SUMS"

// What sha256sum finds wrong with restored files Verify finds too, whatever the files are called.
func TestVerifySums(t *testing.T) {
	names := []string{"plain", "two  blanks", "back\\slash", "line\nbreak", "return\r", "\\n", " ", "sub/file"}
	for what, spoil := range map[string]func(dir string) error{
		"as restored":  func(string) error { return nil },
		"another byte": func(dir string) error { return os.WriteFile(filepath.Join(dir, names[3]), []byte("others"), 0o600) },
		"a byte less":  func(dir string) error { return os.Truncate(filepath.Join(dir, names[0]), 3) },
		"gone":         func(dir string) error { return os.Remove(filepath.Join(dir, names[4])) },
		"no list":      func(dir string) error { return os.Remove(filepath.Join(dir, sumsName)) },
		"no sum": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, sumsName), []byte("abc  plain\n"), 0o600)
		},
		"a long line": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, sumsName), []byte(strings.Repeat("a", 1<<20)), 0o600)
		},
	} {
		dir := t.TempDir()
		var list strings.Builder
		for _, name := range names {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(name+"'s"), 0o600); err != nil {
				t.Fatal(err)
			}
			list.WriteString(Line(sha256.Sum256([]byte(name+"'s")), name) + "\n")
		}
		if err := os.WriteFile(filepath.Join(dir, sumsName), []byte(list.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		peer := exec.Command("sha256sum", "--check", "--strict", "--quiet", sumsName)
		peer.Dir = dir
		want := peer.Run()
		if got := Verify(dir, sumsName); (got == nil) != (want == nil) || (got == nil) != (what == "as restored") {
			t.Errorf("%s: %v, sha256sum says %v", what, got, want)
		}
	}
}
