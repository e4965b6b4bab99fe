package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages returns the text of DESIGN.md and of the pages below docs/.
func pages(t *testing.T) (all string) {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("docs has %v: %v", files, err)
	}
	for _, page := range append([]string{"../../DESIGN.md"}, files...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	return all
}

// Each test that DESIGN.md and the pages below docs/ name is there, so that what they promise is tried.
func TestDesignNamesTests(t *testing.T) {
	text := pages(t)
	tests, err := exec.Command("grep", "-rhoE", "--include=*_test.go", `^func Test[A-Za-z0-9]+`, "../..").Output()
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`\bTest[A-Z][A-Za-z0-9]*`).FindAllString(text, -1)
	if len(names) < 50 {
		t.Fatalf("%d tests are named", len(names))
	}
	for _, name := range names {
		if !strings.Contains(string(tests)+"\n", "func "+name+"\n") {
			t.Errorf("there is no %s", name)
		}
	}
}
