package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What was done is told on standard error where the report of it can't be written, and is not taken for a failure: neither
// on a full disk nor where the reader has gone.
func (s *site) testUnreported(t *testing.T) {
	s = s.on(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"snapshot"}, "is committed"},
		{[]string{"snapshot", "--json"}, "is committed"},
		{[]string{"restore", "-i", s.recovery, "--snapshot", "latest", "--component", "secrets", "--target", "unreported"}, "restored into unreported"},
		{[]string{"repair", "index", "-i", s.recovery}, "the repair is done"},
		{[]string{"forget", "latest"}, "1 snapshot is forgotten"},
		{[]string{"prune", "-i", s.recovery}, "the prune is done"},
	} {
		for name, out := range unwritable(t) {
			before := len(s.snapshots(t))
			c := s.command(tt.args...)
			if tt.args[0] == "restore" {
				c.Args[len(c.Args)-1] += name
			}
			var errs bytes.Buffer
			c.Stdout, c.Stderr = out, &errs
			c.Run()
			if code := c.ProcessState.ExitCode(); code != exitUnreported || !strings.Contains(errs.String(), tt.want) {
				t.Errorf("%v > %s: code %d, stderr\n%s", tt.args, name, code, errs.String())
			}
			if after := len(s.snapshots(t)); tt.args[0] == "snapshot" && after != before+1 || tt.args[0] == "forget" && after != before-1 {
				t.Errorf("%v: %d snapshots became %d", tt.args, before, after)
			}
		}
	}
}

// unwritable returns files that nothing can be written to.
func unwritable(t *testing.T) map[string]*os.File {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { full.Close(); w.Close() })
	return map[string]*os.File{"full": full, "gone": w}
}
