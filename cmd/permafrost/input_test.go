package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Each mistake is answered in one line, and a hint where it is likely to be one.
func (w *witness) testInput(t *testing.T) {
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	full := filepath.Dir(file("something", "is here"))
	newer := w.wounded("config", func([]byte) []byte { return []byte(`{"format":2,"id":"?","more":{}}` + "\n") })
	url := func(text string) string { return w.live(map[string]string{"DATABASE_URL": text}) }
	for _, l := range w.snapshots(t) {
		w.run(exitDone, "confirm", l.ID) // their dates are made up
	}
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"unknown key", []string{"snapshots", "--config", file("c.toml", "repositry = \"x\"\n")}, exitUsage, []string{"unknown key repositry", "did you mean repository?"}},
		{"unknown flag", []string{"snapshots", "--frob"}, exitUsage, []string{"unknown flag: --frob", "hint: "}},
		{"no policy", []string{"forget", "--config", file("c.toml", "[keep]\n")}, exitUsage, []string{"needs a policy", "--keep-daily"}},
		{"policy of nothing", []string{"forget", "--keep-daily", "0"}, exitUsage, []string{"needs a policy", "--keep-daily"}},
		{"no live", []string{"snapshot", "--live", full}, exitFailed, []string{".env.production", "--live"}},
		{"URL of nothing", []string{"snapshot", "--live", url("nonsense")}, exitFailed, []string{"DATABASE_URL", "hint: "}},
		{"URL of MySQL", []string{"snapshot", "--live", url("mysql://u:hunter2@h/d")}, exitFailed, []string{"DATABASE_URL", "postgresql://"}},
		{"URL with a raw password", []string{"snapshot", "--live", url("postgresql://u:hunter2/#?@h/d")}, exitFailed, []string{"DATABASE_URL", "%40"}},
		{"full target", []string{"restore", "-i", w.recovery, "--snapshot", "latest", "--target", full}, exitFailed, []string{"not empty", "--overwrite"}},
		{"newer format", []string{"snapshots", "-r", newer.repo}, exitFailed, []string{"newer version", "hint: update permafrost"}},
		{"no such snapshot", []string{"show", "2026-06-01"}, exitFailed, []string{"2026-06-26"}},
		{"unknown component", []string{"restore", "-i", w.recovery, "--snapshot", "latest", "--target", "x", "--component", "mysql"}, exitUsage, []string{"mysql", "postgres"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := w.command(tt.args...).run(t)
			if told(t, r, tt.want...); r.code != tt.code {
				t.Errorf("code %d, want %d", r.code, tt.code)
			}
			untold(t, r, "hunter2")
		})
	}
	w.run(exitDone, "restore", "-i", w.recovery, "--snapshot", "latest", "--target", full, "--component", "secrets", "--force")
	t.Run("unreachable", w.testUnreachable)
}

// A server that is not there is given up soon.
func (w *witness) testUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	begin := time.Now()
	r := w.on(t).run(exitFailed, "snapshots", "-r", fmt.Sprintf("sftp://u@%s/repo", l.Addr()))
	told(t, r, l.Addr().String(), "connection refused", "hint: ")
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}
