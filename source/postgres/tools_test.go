package postgres

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A program that is only asked for its version learns nothing of this process's environment.
func TestProbeInheritsNothing(t *testing.T) {
	t.Setenv("DB_PASS", "hunter2")
	dir := t.TempDir()
	script := "#!/bin/sh\nenv >" + filepath.Join(dir, "env") + "\necho 'pg_dump (PostgreSQL) 15.14'\n"
	if err := os.WriteFile(filepath.Join(dir, "pg_dump"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := probe(t.Context(), dir, nil); err != nil || got.major != 15 {
		t.Errorf("%+v, %v", got, err)
	}
	env, err := os.ReadFile(filepath.Join(dir, "env"))
	if err != nil || !slices.Contains(strings.Split(string(env), "\n"), "LC_ALL=C") || strings.Contains(string(env), "hunter2") {
		t.Errorf("%s, %v", env, err)
	}
}
