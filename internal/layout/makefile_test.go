package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Tests that the Makefile names are there, in the package that it names: go test runs none without an error otherwise.
func TestMakefileNamesTests(t *testing.T) {
	const top = "../.."
	data, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, v := range regexp.MustCompile(`(?m)^([A-Z]+) := (Test.*)$`).FindAllStringSubmatch(text, -1) {
		text = strings.ReplaceAll(text, "$("+v[1]+")", v[2])
	}
	soaks := regexp.MustCompile(`(?m)^\t\$\(GO\) test .*-run '([^']+)' (\./\S+)`).FindAllStringSubmatch(text, -1)
	if len(soaks) < 10 {
		t.Fatalf("%d lines with tests", len(soaks))
	}
	for _, m := range soaks {
		dir := strings.TrimSuffix(m[2], "/...")
		for _, name := range strings.Split(m[1], "|") {
			name, _, _ = strings.Cut(name, "/")
			if name = strings.TrimSuffix(name, "$$"); !strings.HasPrefix(name, "Test") {
				name = "[A-Za-z]*" + name
			}
			if err := exec.Command("grep", "-rqE", "--include=*_test.go", "^func (Test)?"+name, filepath.Join(top, dir)).Run(); err != nil {
				t.Errorf("there is no %s in %s", name, m[2])
			}
		}
	}
}
