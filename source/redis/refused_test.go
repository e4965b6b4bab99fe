package redis

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"permafrost/source"
)

// renamed are the arguments of a Redis without these commands.
func renamed(commands ...string) []string {
	args := with("--repl-diskless-sync-delay", "0")
	for _, c := range commands {
		args = append(args, "--rename-command", c, "")
	}
	return args
}

// Whatever commands a Redis has lost, each way that is left is taken.
func TestRenamedCommands(t *testing.T) {
	for _, c := range []struct {
		gone   string
		method string
	}{
		{"CONFIG", "bgsave"},
		{"CONFIG PSYNC SYNC", "bgsave"},
		{"BGSAVE", "replication"},
		{"CONFIG BGSAVE PSYNC", "replication"},
		{"INFO", "replication"},
		{"PSYNC SYNC BGSAVE CONFIG", "last save"},
		{"PSYNC SYNC BGSAVE LASTSAVE", "last save"},
		{"PSYNC SYNC INFO", "last save"},
	} {
		t.Run(c.gone, func(t *testing.T) {
			r, admin := start(t, "", renamed(strings.Fields(c.gone)...)...)
			fill(t, r)
			if err := admin.Save(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			var told []string
			s, err := Connect(t.Context(), conf(r), Options{Warn: func(msg string) { told = append(told, msg) }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			path, facts := dump(t, s, c.method)
			loads(t, path, r)
			if (len(told) == 1) != (c.method == "last save") || c.method == "last save" && !strings.Contains(told[0], "when it last saved them") {
				t.Errorf("told %q", told)
			}
			if c.method == "last save" && (!strings.Contains(facts.Why, "unknown command 'SYNC'") && !strings.Contains(facts.Why, "unknown command 'PSYNC'")) {
				t.Errorf("why %q", facts.Why)
			}
		})
	}
}

// A Redis of which nothing can be had is one error that names the commands, and has a cause.
func TestNothingLeft(t *testing.T) {
	r, admin := start(t, "", renamed("PSYNC", "SYNC", "BGSAVE", "CONFIG")...)
	fill(t, r)
	refused := func(want ...string) {
		t.Helper()
		s := connect(t, conf(r))
		_, err := s.Dump(t.Context())
		if err == nil || strings.Contains(err.Error(), "\n") {
			t.Fatalf("got %v", err)
		}
		for _, w := range append(want, "unknown command 'PSYNC'", "by BGSAVE: ") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("got %v, want %q", err, w)
			}
		}
		if source.CauseOf(err).Cause != CauseRenamed {
			t.Errorf("got %v (%v)", err, source.CauseOf(err))
		}
	}
	refused("no such file")
	// A file that is not of this Redis' last save is not its data.
	if err := admin.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(r.Dir, "dump.rdb"), long, long); err != nil {
		t.Fatal(err)
	}
	refused("and Redis saved last at ")
}

// A user without the right to take the data is told the exact line that gives it, and that line does.
func TestDangerousDenied(t *testing.T) {
	r, admin := start(t, "admin", with("--repl-diskless-sync-delay", "0")...)
	fill(t, r)
	acl(t, admin, "mastodon", "on", ">right", "~*", "&*", "+@all", "-@dangerous")
	s := connect(t, source.Redis{Network: "tcp", Addr: r.Addr, User: "mastodon", Password: "right"})
	_, err := s.Dump(t.Context())
	why := source.CauseOf(err)
	if why.Cause != CauseNotAllowed || !strings.Contains(err.Error(), "'psync'") || strings.Contains(err.Error()+why.Facts[0], "right'") {
		t.Fatalf("got %v (%v)", err, why)
	}
	var words []any
	for _, w := range strings.Fields(why.Facts[0]) {
		words = append(words, w)
	}
	if len(words) < 4 {
		t.Fatalf("the line is %q", why.Facts[0])
	}
	if err := admin.Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
	path, _ := dump(t, s, "replication")
	loads(t, path, r)
}
