package layout

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A testLine is a command of the Makefile that runs some tests of some packages.
type testLine struct {
	names    string // an expression
	packages []string
}

// readMakefile returns those lines, and the values of the variables that are expressions for tests.
func readMakefile(t *testing.T) ([]testLine, map[string]string) {
	t.Helper()
	data, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "$\\\n\t", "")
	vars := make(map[string]string)
	for _, v := range regexp.MustCompile(`(?m)^([A-Z]+) := (Test.*)$`).FindAllStringSubmatch(text, -1) {
		vars[v[1]] = strings.ReplaceAll(v[2], "$$", "$")
		text = strings.ReplaceAll(text, "$("+v[1]+")", v[2])
	}
	var lines []testLine
	for _, m := range regexp.MustCompile(`(?m)^\t\$\(GO\) test .*-run '([^']+)'((?: \./\S+)+)`).FindAllStringSubmatch(text, -1) {
		lines = append(lines, testLine{strings.ReplaceAll(m[1], "$$", "$"), strings.Fields(m[2])})
	}
	if len(lines) < 10 {
		t.Fatalf("%d lines with tests", len(lines))
	}
	return lines, vars
}

// Tests that the Makefile names are there, in the packages that it names: go test runs none without an error otherwise.
func TestMakefileNamesTests(t *testing.T) {
	lines, _ := readMakefile(t)
	for _, line := range lines {
		args := []string{"-rqE", "--include=*_test.go", ""}
		for _, p := range line.packages {
			args = append(args, filepath.Join("../..", strings.TrimSuffix(p, "/...")))
		}
		for _, name := range strings.Split(line.names, "|") {
			name, _, _ = strings.Cut(name, "/")
			if name = strings.TrimSuffix(name, "$"); !strings.HasPrefix(name, "Test") {
				name = "[A-Za-z]*" + name
			}
			args[2] = "^func (Test)?" + name
			if err := exec.Command("grep", args...).Run(); err != nil {
				t.Errorf("there is no %s in %s", name, line.packages)
			}
		}
	}
}

// What the race detector does not see, or sees in part, is run whole without it.
func TestSkippedTestsRun(t *testing.T) {
	lines, vars := readMakefile(t)
	single, whole := vars["SINGLE"], vars["SINGLE"]+"|"+vars["PARTLY"]
	at := slices.IndexFunc(lines, func(l testLine) bool { return l.names == whole })
	if single == "" || at < 0 {
		t.Fatal("no line runs SINGLE and PARTLY")
	}
	ran := lines[at].packages
	files, err := exec.Command("grep", "-rE", "--include=*_test.go", "^func Test", "../..").Output()
	if err != nil {
		t.Fatal(err)
	}
	skipped, partly, found := regexp.MustCompile(single), regexp.MustCompile(`storetest\.RaceDetector`), 0
	inPackage := func(dir string) bool {
		return slices.ContainsFunc(ran, func(p string) bool {
			root, below := strings.CutSuffix(p, "/...")
			return dir == p || below && strings.HasPrefix(dir+"/", root+"/")
		})
	}
	for _, line := range strings.Split(strings.TrimSpace(string(files)), "\n") {
		file, function, _ := strings.Cut(line, ":func ")
		name, _, _ := strings.Cut(function, "(")
		dir := "./" + strings.TrimPrefix(filepath.Dir(file), "../../")
		if skipped.MatchString(name) && !strings.HasPrefix(dir, "./cmd/") {
			found++
			if !inPackage(dir) {
				t.Errorf("%s of %s is skipped under the race detector, and no target runs it without", name, dir)
			}
		}
		if text, err := os.ReadFile(file); err != nil || partly.Match(text) && !inPackage(dir) {
			t.Errorf("%s does less under the race detector, and no target runs it whole: %v", file, err)
		}
	}
	if found < 15 {
		t.Errorf("%d tests are skipped under the race detector", found)
	}
}
