package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"permafrost/cmd/permafrost/internal/console"
)

// readTop returns a file of the top directory.
func readTop(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows returns the first cells of the table in the README that begins with a header.
func rows(t *testing.T, header string) (cells []string) {
	t.Helper()
	_, table, ok := strings.Cut(readTop(t, "README.md"), "\n"+header)
	table, _, _ = strings.Cut(table, "\n\n")
	for _, m := range regexp.MustCompile(`(?m)^\| ([^|]+) \|`).FindAllStringSubmatch(table, -1) {
		cells = append(cells, m[1])
	}
	if !ok || len(cells) == 0 {
		t.Fatalf("the README has no table %q", header)
	}
	return cells
}

// The README's table has each command, and no other.
func TestREADMECommands(t *testing.T) {
	want := map[string]bool{"help": true}
	for _, c := range newRoot(&app{ui: console.New(io.Discard, io.Discard)}).Commands() {
		if c.Runnable() && !c.Hidden {
			want[c.Name()] = true
		}
	}
	got := map[string]bool{}
	for _, row := range rows(t, "| command | does |") {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row, -1) {
			got[m[1]] = true
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the README has %v, the program %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// The README's table has the exit codes that `permafrost help exit-codes` has.
func TestREADMEExitCodes(t *testing.T) {
	var want []string
	for _, m := range regexp.MustCompile(`(?m)^  (\d+) `).FindAllStringSubmatch(helpExitCodes, -1) {
		want = append(want, m[1])
	}
	if got := rows(t, "| exit code |"); len(want) < 10 || !slices.Equal(got, want) {
		t.Errorf("the README has %v, the help %v", got, want)
	}
}
