package layout

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A package has at most so many lines outside tests, and a type so many methods.
const (
	maxLines   = 3000
	maxMethods = 30
)

var method = regexp.MustCompile(`(?m)^func \(\w+ \*?(\w+)(?:\[\w+\])?\) `)

func TestRoomsAreSmall(t *testing.T) {
	lines, methods := make(map[string]int), make(map[string]int)
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".git") {
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "sandbox") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel("../..", filepath.Dir(path))
		lines[dir] += bytes.Count(text, []byte("\n"))
		for _, m := range method.FindAllSubmatch(text, -1) {
			methods[dir+" "+string(m[1])]++
		}
		return err
	})
	if err != nil || len(lines) < 20 {
		t.Fatalf("%d packages: %v", len(lines), err)
	}
	for dir, n := range lines {
		if n > maxLines {
			t.Errorf("%s has %d lines", dir, n)
		}
	}
	for name, n := range methods {
		if n > maxMethods {
			t.Errorf("%s has %d methods", name, n)
		}
	}
}
