package redis

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"permafrost/source"
)

func TestDumpByBGSAVE(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	r, _ := start(t, `pa"ss wörd`, with("--unixsocket", socket)...)
	fill(t, r)
	for _, c := range []source.Redis{
		conf(r),
		{Network: "unix", Addr: socket, Password: r.Password},
	} {
		s := connect(t, c)
		path, facts := dump(t, s, "bgsave")
		if facts.Why != "" {
			t.Error(facts.Why)
		}
		if got := s.Facts().Keys; !maps.Equal(got, keys) {
			t.Errorf("keys %v, want %v", got, keys)
		}
		loads(t, path, r)
	}
}

func TestDumpByReplication(t *testing.T) {
	for _, diskless := range []string{"yes", "no"} {
		t.Run("diskless="+diskless, func(t *testing.T) {
			r, admin := start(t, "s3cret", with("--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0")...)
			fill(t, r)
			// What Redis's manual grants a replica, and no more.
			acl(t, admin, "backup", "on", ">other", "+psync", "+replconf", "+ping")
			s := connect(t, source.Redis{Network: "tcp", Addr: r.Addr, User: "backup", Password: "other"})
			if f := s.Facts(); f.AppendOnly != nil || f.Version != "" || f.Queues != nil {
				t.Errorf("facts that Redis denied: %+v", f)
			}
			path, facts := dump(t, s, "replication")
			if !strings.Contains(facts.Why, "CONFIG") {
				t.Errorf("why not by BGSAVE: %q", facts.Why)
			}
			loads(t, path, r)
			// The way of replication that was not asked for goes through Redis's own file.
			if _, err := os.Stat(filepath.Join(r.Dir, "dump.rdb")); (err == nil) != (diskless == "no") {
				t.Errorf("Redis's own file: %v", err)
			}

			acl(t, admin, "backup", "-psync", "+sync")
			path, _ = dump(t, s, "replication")
			loads(t, path, r)

			acl(t, admin, "backup", "-sync")
			_, err := s.Dump(t.Context())
			if !replied(err, "NOPERM") || source.CauseOf(err).Cause != CauseNotAllowed {
				t.Errorf("denied everything: %v; %v", err, source.CauseOf(err))
			}
		})
	}
}

// Each reason not to use the file leads to replication, and to a dump that is as good.
func TestFallback(t *testing.T) {
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	fill(t, r)
	check := func(why string, hooks ...goredis.Hook) {
		t.Helper()
		s := connect(t, conf(r))
		for _, h := range hooks {
			s.client.AddHook(h)
		}
		path, facts := dump(t, s, "replication")
		if !strings.Contains(facts.Why, why) {
			t.Errorf("why not by BGSAVE: %q, want %q", facts.Why, why)
		}
		loads(t, path, r)
	}

	// A Redis in a container names a directory that is another one on this host: a second Redis's, here.
	other, _ := start(t, "")
	dump(t, connect(t, conf(other)), "bgsave")
	check("did not change", tellDir(other.Dir))
	check("/no/such/directory", elsewhere)
	check("no such file", tellDir(t.TempDir()))

	acl(t, admin, "default", "-config", "-info")
	check("CONFIG GET")
	acl(t, admin, "default", "+config", "+info", "-bgsave")
	check("NOPERM")
	acl(t, admin, "default", "+bgsave", "-info")
	check("NOPERM")
	acl(t, admin, "default", "+info")

	if err := os.Remove(filepath.Join(r.Dir, "dump.rdb")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(r.Dir, "dump.rdb", "not empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	check("not a regular file")
	check("BGSAVE failed", tellDir(t.TempDir()))
}

// A save that is under way is older than the one asked for.
func TestDumpDuringSave(t *testing.T) {
	r, admin := start(t, "", "--rdb-key-save-delay", "300")
	fill(t, r)
	if err := admin.BgSave(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Set(t.Context(), "late", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	path, _ := dump(t, connect(t, conf(r)), "bgsave")
	_, restored := startIn(t, filepath.Dir(filepath.Dir(path)), "")
	if got := restored.Get(t.Context(), "late").Val(); got != "yes" {
		t.Errorf("a key that was set before the dump is not in it: %q", got)
	}
}

func TestDumpDuringRewrite(t *testing.T) {
	r, admin := start(t, "", "--rdb-key-save-delay", "300", "--appendonly", "yes")
	fill(t, r)
	if err := admin.BgRewriteAOF(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	dump(t, connect(t, conf(r)), "bgsave")
}

func TestNewer(t *testing.T) {
	start := time.Date(2026, 6, 27, 2, 0, 0, 5e6, time.UTC)
	for _, c := range []struct {
		rdb time.Time
		ok  bool
	}{
		{start.Truncate(time.Second), true},
		{start.Truncate(time.Second).Add(-time.Second), true}, // the coarse clock
		{start.Truncate(time.Second).Add(-2 * time.Second), false},
		{start.Add(time.Hour), true},
		{time.Time{}, true}, // Redis before 3.2 does not tell
	} {
		if err := newer(c.rdb, start); (err == nil) != c.ok {
			t.Errorf("RDB of %v, BGSAVE at %v: %v", c.rdb, start, err)
		}
	}
}

// Later saves of Redis do not disturb a file that is being read.
func TestDumpDespiteLaterSave(t *testing.T) {
	r, admin := start(t, "", debug...)
	fill(t, r)
	d, err := connect(t, conf(r)).Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := admin.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, d); err != nil || n < 10000 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestRDBChecksumOff(t *testing.T) {
	r, _ := start(t, "", "--rdbchecksum", "no")
	fill(t, r)
	d, err := connect(t, conf(r)).Dump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, d); err != nil {
		t.Fatal(err)
	}
	if d.Facts().Checksum {
		t.Error("the facts claim a checksum")
	}
	if CheckRDB(bytes.NewReader(b.Bytes()[:b.Len()-1])) == nil {
		t.Error("cut by a byte, and not noticed")
	}
}

func TestBigDump(t *testing.T) {
	const size = 110 << 20
	r, admin := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	populate(t, admin, size)
	for _, method := range []string{"bgsave", "replication"} {
		s := connect(t, conf(r))
		if method == "replication" {
			s.client.AddHook(elsewhere)
		}
		d, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if n, err := io.Copy(io.Discard, d); err != nil || n < size*9/10 || d.Facts().Method != method {
			t.Errorf("%s: %d bytes by %s, %v", method, n, d.Facts().Method, err)
		}
	}
}

// A Redis that dies, or is told to drop its replicas, in the middle of a dump ends it with an error.
func TestRedisGone(t *testing.T) {
	for _, diskless := range []string{"yes", "no"} {
		r, admin := start(t, "", with("--repl-diskless-sync", diskless, "--repl-diskless-sync-delay", "0")...)
		populate(t, admin, 50<<20)
		s := connect(t, conf(r))
		s.client.AddHook(elsewhere)
		d, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := io.CopyN(io.Discard, d, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := admin.ClientKillByFilter(t.Context(), "TYPE", "replica").Err(); err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, d)
		if err == nil || n > 50<<20 {
			t.Errorf("diskless=%s: replica killed, dump whole after %d bytes", diskless, n)
		}
		if _, again := d.Read(make([]byte, 1)); again == nil || again == io.EOF {
			t.Errorf("after %v a read gives %v", err, again)
		}

		if d, err = s.Dump(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := io.CopyN(io.Discard, d, 1<<20); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(-r.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, d); err == nil || n > 50<<20 || !strings.Contains(err.Error(), "lost") {
			t.Errorf("diskless=%s: Redis killed, after %d bytes: %v", diskless, n, err)
		}
		if _, err := s.Dump(t.Context()); err == nil {
			t.Error("dumped a dead Redis")
		}
	}
}

// Canceling the context ends a dump at any time: while Redis saves, before the dump is there, or in it.
func TestCancel(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		hook tellDir
		args []string
	}{
		{"bgsave", "", nil},
		{"replication of a file", elsewhere, []string{"--repl-diskless-sync", "no"}},
		{"diskless replication", elsewhere, []string{"--repl-diskless-sync-delay", "0"}},
	} {
		// Saving takes 100 s.
		r, admin := start(t, "", append(c.args, "--rdb-key-save-delay", "100000")...)
		fill(t, r)
		s := connect(t, conf(r))
		if c.hook != "" {
			s.client.AddHook(c.hook)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			poll(t.Context(), func() (bool, error) {
				text, err := admin.Info(t.Context(), "persistence").Result()
				return strings.Contains(text, "rdb_bgsave_in_progress:1"), err
			})
			cancel(boom)
		}()
		d, err := s.Dump(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, d)
			d.Close()
		}
		if !errors.Is(err, boom) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
