package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/source"
)

// fill makes the dump larger than every pipe that it passes through.
func fill(t testing.TB, db string, mib int) {
	t.Helper()
	sql(t, db, fmt.Sprintf("create table big as select i, repeat(md5(i::text), 32) as text from generate_series(1, %d) i", mib<<10))
}

// midway returns a dump that has been read in part and is far from its end.
func midway(t *testing.T, s *Server) *Dump {
	t.Helper()
	d := startDump(t, export(t, s))
	if _, err := io.CopyN(io.Discard, d, 2<<20); err != nil {
		t.Fatal(err)
	}
	return d
}

// rest reads a dump until its error, which must come again.
func rest(t *testing.T, d *Dump) error {
	t.Helper()
	_, err := io.Copy(io.Discard, d)
	if err == nil {
		t.Fatal("the dump ends as if it were whole")
	}
	if _, again := d.Read(make([]byte, 10)); again != err {
		t.Errorf("first %v, then %v", err, again)
	}
	checkGone(t, d)
	return err
}

// checkGone fails the test unless both children end.
func checkGone(t *testing.T, d *Dump) {
	t.Helper()
	for _, c := range []*child{d.dump, d.proof.restore} {
		for deadline := time.Now().Add(10 * time.Second); !ended(c); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s is still there", c.name)
			}
		}
	}
}

// ended reports whether a child has: it may still wait for its parent to look.
func ended(c *child) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return true
	}
	_, after, _ := strings.Cut(string(data), ") ")
	return strings.HasPrefix(after, "Z")
}

func TestKilled(t *testing.T) {
	db := newDatabase(t)
	fill(t, db.Name, 10)
	s := connect(t, db, Options{})
	t.Run("pg_dump", func(t *testing.T) {
		d := midway(t, s)
		if err := d.dump.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := rest(t, d); !strings.Contains(err.Error(), "pg_dump failed: signal: killed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("pg_restore", func(t *testing.T) {
		d := midway(t, s)
		if err := d.proof.restore.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := rest(t, d); !strings.Contains(err.Error(), "the dump is not sound: pg_restore failed: signal: killed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("server process", func(t *testing.T) {
		d := midway(t, s)
		sql(t, "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where application_name like '% pg_dump'")
		err := rest(t, d)
		if !strings.Contains(err.Error(), "pg_dump failed: exit status 1: pg_dump: error:") || source.CauseOf(err).Cause != CauseStopped {
			t.Errorf("got %v (%v)", err, source.CauseOf(err))
		}
	})
}

func TestCancelled(t *testing.T) {
	db := newDatabase(t)
	fill(t, db.Name, 10)
	s := connect(t, db, Options{})
	snap := export(t, s)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d, err := snap.Dump(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	// pg_restore, stopped, leaves Read waiting.
	if err := d.proof.restore.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := rest(t, d); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := snap.Dump(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled start: %v", err)
	}
}

func TestCloseEarly(t *testing.T) {
	db := newDatabase(t)
	fill(t, db.Name, 10)
	s := connect(t, db, Options{})
	t.Run("between reads", func(t *testing.T) {
		d := midway(t, s)
		for range 2 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if d.dump.cmd.ProcessState == nil || d.proof.restore.cmd.ProcessState == nil {
			t.Error("a child was not waited for")
		}
		if _, err := d.Read(make([]byte, 1)); err != errClosed {
			t.Errorf("got %v", err)
		}
	})
	t.Run("during a read", func(t *testing.T) {
		d := midway(t, s)
		if err := d.dump.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(100*time.Millisecond, func() { d.Close() })
		if err := rest(t, d); err != errClosed {
			t.Errorf("got %v", err)
		}
	})
}

// The snapshot is gone before pg_dump comes: that is an error, not a dump of another state.
func TestSnapshotGone(t *testing.T) {
	snap := export(t, connect(t, newDatabase(t), Options{}))
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := snap.Dump(context.Background())
	if err == nil || !strings.Contains(err.Error(), "pg_dump failed: exit status 1") || source.CauseOf(err).Cause != CauseSnapshotLost {
		t.Errorf("got %v (%v)", err, source.CauseOf(err))
	}
}

// A role that may not read everything gets no dump of the rest.
func TestPermissionDenied(t *testing.T) {
	db := newDatabase(t)
	sql(t, db.Name, "create role reader login password 'x'; grant select on all tables in schema public to reader; revoke all on accounts from reader; grant select on all sequences in schema public to reader")
	defer sql(t, db.Name, "drop owned by reader; drop role reader")
	db.User, db.Password = "reader", "x"
	_, err := export(t, connect(t, db, Options{})).Dump(context.Background())
	why := source.CauseOf(err)
	if why.Cause != CauseUnreadable || !strings.Contains(err.Error(), "permission denied") {
		t.Fatalf("got %v (%v)", err, why)
	}
	sql(t, db.Name, "grant pg_read_all_data to "+why.Facts[0])
	if _, err := io.Copy(io.Discard, startDump(t, export(t, connect(t, db, Options{})))); err != nil {
		t.Errorf("with the right to read all data: %v", err)
	}
}

// One broken page is an error that names it, with what to do.
func TestBrokenPage(t *testing.T) {
	whole := newDatabase(t)
	db := whole
	db.Name += "_broken"
	sql(t, "postgres", "checkpoint")
	sql(t, "postgres", "create database "+db.Name+" template "+whole.Name+" strategy file_copy") // so that no page is in memory
	file := filepath.Join(query(t, db.Name, "show data_directory"), query(t, db.Name, "select pg_relation_filepath('statuses')"))
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 8192), 8192); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = io.Copy(io.Discard, startDump(t, export(t, connect(t, db, Options{}))))
	if err == nil || !strings.Contains(err.Error(), "invalid page in block 1") || source.CauseOf(err).Cause != CauseDamaged || source.CauseOf(err).Facts[0] != db.Name {
		t.Errorf("got %v (%v)", err, source.CauseOf(err))
	}
}

// wrap returns a BinDir whose programs are shell scripts; they find the real ones in $real.
func wrap(t *testing.T, dump, restore string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{"pg_dump": dump, "pg_restore": restore} {
		if script == "" {
			script = `exec "$real" "$@"`
		}
		real := filepath.Join(cluster.BinDir, name)
		text := fmt.Sprintf("#!/bin/sh\nreal=%s\n[ \"$1\" = --version ] && exec \"$real\" --version\n%s\n", real, script)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A pg_dump whose output is damaged on its way is noticed although it exits with 0.
func TestDamagedDump(t *testing.T) {
	db := newDatabase(t)
	fill(t, db.Name, 4)
	whole := startDump(t, export(t, connect(t, db, Options{})))
	data, err := io.ReadAll(whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, filter, want string }{
		{"nothing", "head -c 0", "custom format"},
		{"a few bytes", "head -c 8", "custom format"},
		{"cut in the table of contents", "head -c 2000", "table of contents"},
		{"cut in the data", "head -c " + strconv.Itoa(len(data)*6/10), "the dump is not sound: pg_restore failed"},
		{"the last byte missing", "head -c -1", "the dump is not sound: pg_restore failed"},
		{"something behind it", "(cat; head -c 9000000 /dev/zero)", "pg_restore ended before the dump did"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := export(t, connect(t, db, Options{BinDir: wrap(t, `"$real" "$@" | `+c.filter, "")})).Dump(context.Background())
			if err == nil {
				_, err = io.Copy(io.Discard, d)
				d.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A pg_restore that fails at once stops the dump with what it said; it does not block it.
func TestRestoreDiesEarly(t *testing.T) {
	db := newDatabase(t)
	fill(t, db.Name, 10)
	var said strings.Builder
	s := connect(t, db, Options{BinDir: wrap(t, "", "echo 'pg_restore: error: no memory' >&2; exit 3"), Stderr: &said})
	d := startDump(t, export(t, s))
	if err := rest(t, d); !strings.Contains(err.Error(), "pg_restore failed: exit status 3: pg_restore: error: no memory") {
		t.Errorf("got %v", err)
	}
	d.Close()
	if said.String() != "pg_restore: error: no memory\n" {
		t.Errorf("said %q", said.String())
	}
}

// An exit code counts even where the output is whole, and what was said comes with it.
func TestExitCode(t *testing.T) {
	db := newDatabase(t)
	script := `"$real" "$@"; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "line $i" >&2; done; printf unfinished >&2; exit 7`
	var said strings.Builder
	s := connect(t, db, Options{BinDir: wrap(t, script, ""), Stderr: &said})
	d := startDump(t, export(t, s))
	_, err := io.Copy(io.Discard, d)
	if err == nil || !strings.Contains(err.Error(), "pg_dump failed: exit status 7: line 4; ") || !strings.HasSuffix(err.Error(), "line 12; unfinished") {
		t.Errorf("got %v", err)
	}
	d.Close()
	if !strings.HasPrefix(said.String(), "line 1\nline 2\n") || !strings.HasSuffix(said.String(), "\nunfinished\n") {
		t.Errorf("said %q", said.String())
	}
}

// A password that every syntax in between might stumble over arrives, and shows nowhere.
func TestPasswordIsHidden(t *testing.T) {
	db := newDatabase(t)
	fill(t, db.Name, 10)
	const password = `hunter2:a\b'c"d $e%f#g@h/é`
	sql(t, db.Name, `create role secretive superuser login password '`+strings.ReplaceAll(password, "'", "''")+`'`)
	defer sql(t, db.Name, "drop role secretive")
	db.User, db.Password = "secretive", password
	for _, o := range []Options{{}, {User: lookup(t, "nobody")}} {
		d := midway(t, connect(t, db, o))
		for _, c := range []*child{d.dump, d.proof.restore} {
			for _, name := range []string{"cmdline", "environ"} {
				data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.cmd.Process.Pid, name))
				if err != nil {
					t.Fatal(err)
				}
				if len(data) == 0 || strings.Contains(string(data), "hunter2") {
					t.Errorf("%s's %s: %q", c.name, name, data)
				}
			}
		}
		if _, err := io.Copy(io.Discard, d); err != nil {
			t.Fatal(err)
		}
		d.Close()
	}
}

func TestFindTools(t *testing.T) {
	script := func(dir, name, text string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root := t.TempDir()
	for _, v := range []string{"9.6.24", "13.22", "15.14 (Debian 15.14-0+deb12u1)", "17.6", "18beta2"} {
		dir := filepath.Join(root, strings.Split(v, ".")[0])
		script(dir, "pg_dump", `echo "pg_dump (PostgreSQL) `+v+`"`)
		script(dir, "pg_restore", "")
	}
	script(filepath.Join(root, "broken"), "pg_dump", "exit 1")
	script(filepath.Join(root, "alone"), "pg_dump", `echo "pg_dump (PostgreSQL) 20.1"`)
	installed := []string{filepath.Join(root, "*")}
	t.Setenv("PATH", "/nowhere")
	ctx := context.Background()
	for server, want := range map[int]string{13: "13/pg_dump", 14: "15/pg_dump", 15: "15/pg_dump", 16: "17/pg_dump", 18: "18beta2/pg_dump", 10: "13/pg_dump"} {
		got, err := findTools(ctx, server, &Options{}, installed)
		if err != nil || got.dump != filepath.Join(root, want) {
			t.Errorf("for %d: %s, %v; want %s", server, got.dump, err, want)
		}
	}
	for name, c := range map[string]struct {
		server int
		o      Options
		want   string
	}{
		"all older":     {21, Options{}, "no pg_dump for PostgreSQL 21: the newest here, " + root + "/alone/pg_dump, is version 20.1"},
		"no pg_restore": {20, Options{}, "no pg_restore beside"},
		"none":          {15, Options{BinDir: root}, "no pg_dump for PostgreSQL 15 in " + root},
		"older BinDir":  {15, Options{BinDir: filepath.Join(root, "13")}, "is version 13.22"},
	} {
		_, err := findTools(ctx, c.server, &c.o, installed)
		if err == nil || !strings.Contains(err.Error(), c.want) || source.CauseOf(err).Facts[0] != strconv.Itoa(c.server) {
			t.Errorf("%s: %v (%v)", name, err, source.CauseOf(err))
		}
	}
	t.Setenv("PATH", filepath.Join(root, "17"))
	if got, err := findTools(ctx, 15, &Options{}, nil); err != nil || got.version != "17.6" {
		t.Errorf("from PATH: %+v, %v", got, err)
	}
}
