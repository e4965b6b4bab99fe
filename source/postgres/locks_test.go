package postgres

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"permafrost/source"
)

// hold runs statements in a psql that then stays. It returns the PID of its session, and what ends it.
func hold(t *testing.T, db, statements string) (pid string, release func()) {
	t.Helper()
	cmd := exec.Command(filepath.Join(cluster.BinDir, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", cluster.URL(db))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() {
		in.Close()
		cmd.Wait()
	})
	t.Cleanup(release)
	fmt.Fprintf(in, "select pg_backend_pid();\n%s;\n\\echo held\n", statements)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		switch {
		case lines.Text() == "held":
			return pid, release
		case pid == "":
			pid = lines.Text()
		}
	}
	t.Fatal("psql ended")
	return "", nil
}

// warned collects what Options.Warn is told.
type warned struct {
	mu    sync.Mutex
	lines []string
}

func (w *warned) warn(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, text)
}

func (w *warned) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.lines, "\n")
}

// Whoever holds a lock that a dump needs is named, and when it took too long, the dump fails with that name and leaves no session.
func TestLockHeld(t *testing.T) {
	t.Parallel() // it waits, mostly
	for _, c := range []struct {
		name, hold string
		want       []string
	}{
		{"table", "begin; set application_name = 'migration'; lock table statuses in access exclusive mode",
			[]string{"table statuses is locked by PID ", "user mastodon", "application migration", "idle in transaction", "since 20"}},
		{"facts", "begin; lock table schema_migrations in access exclusive mode", []string{"table schema_migrations is locked by PID ", "application psql"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t)
			pid, release := hold(t, db.Name, c.hold)
			var w warned
			began := time.Now()
			err := dumpOnce(db, Options{LockWait: 2 * time.Second, Warn: w.warn})
			if err == nil || !isLock(err) || source.CauseOf(err).Cause != CauseLocked {
				t.Fatalf("got %v (%v)", err, source.CauseOf(err))
			}
			if took := time.Since(began); took < 2*time.Second || took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			for _, want := range append(c.want, "PID "+pid) {
				if !strings.Contains(err.Error(), want) || !strings.Contains(w.String(), want) {
					t.Errorf("error %q, told %q, want %q", err, w.String(), want)
				}
			}
			if strings.Count(w.String(), "\n") != 0 || strings.Contains(err.Error(), "\n") {
				t.Errorf("told %q, error %q", w.String(), err)
			}
			// Nobody is left in the queue for the lock.
			for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				left := query(t, "postgres", "select count(*) from pg_stat_activity where application_name like 'permafrost-%' and datname = '"+db.Name+"'")
				if left == "0" {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s sessions are left", left)
				}
			}
			release()
			if err := dumpOnce(db, Options{}); err != nil {
				t.Errorf("once the lock is gone: %v", err)
			}
		})
	}
}

// A lock that is let go in time delays a dump and fails nothing, and who held it was told.
func TestLockReleased(t *testing.T) {
	t.Parallel() // it waits, mostly
	db := newDatabase(t)
	_, release := hold(t, db.Name, "begin; lock table accounts in access exclusive mode")
	var w warned
	go func() {
		for deadline := time.Now().Add(20 * time.Second); w.String() == "" && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		release()
	}()
	if err := dumpOnce(db, Options{LockWait: 10 * time.Second, Warn: w.warn}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(w.String(), "table accounts is locked by PID ") {
		t.Errorf("told %q", w.String())
	}
}

// A prepared transaction has no session that could be named.
func TestLockPrepared(t *testing.T) {
	b := blocker{object: "table statuses"}
	if !strings.Contains(b.String(), "pg_prepared_xacts") {
		t.Error(b.String())
	}
}

// A role that may not see others' sessions is told of the PID, the user and the application.
func TestLockOfAnotherRole(t *testing.T) {
	db := newDatabase(t)
	sql(t, "postgres", "create role plain login password 'plain'")
	t.Cleanup(func() { sql(t, db.Name, "drop owned by plain; drop role plain") })
	sql(t, db.Name, "grant select on all tables in schema public to plain; grant select on all sequences in schema public to plain")
	pid, _ := hold(t, db.Name, "begin; lock table statuses in access exclusive mode")
	as := db
	as.User, as.Password = "plain", "plain"
	err := dumpOnce(as, Options{LockWait: time.Second})
	if !isLock(err) || !strings.Contains(err.Error(), "PID "+pid+" (user mastodon, application psql") {
		t.Errorf("got %v", err)
	}
}

// Where no connection is left to look with, pg_dump ends by itself.
func TestLockWithoutWatch(t *testing.T) {
	t.Parallel() // it waits, mostly
	db := newDatabase(t)
	sql(t, "postgres", "create role two superuser login password 'two'")
	t.Cleanup(func() { sql(t, "postgres", "drop role two") })
	sql(t, "postgres", "alter database "+db.Name+" connection limit 3")
	sql(t, "postgres", "alter role two nosuperuser connection limit 2")
	sql(t, db.Name, "grant pg_read_all_data to two")
	hold(t, db.Name, "begin; lock table statuses in access exclusive mode")
	db.User, db.Password = "two", "two"
	err := dumpOnce(db, Options{LockWait: time.Second})
	if err == nil || isLock(err) || !strings.Contains(err.Error(), "statement timeout") || source.CauseOf(err).Cause != CauseLocked {
		t.Errorf("got %v (%v)", err, source.CauseOf(err))
	}
}

// dumpOnce connects and dumps.
func dumpOnce(db source.Database, o Options) error {
	ctx := context.Background()
	s, err := Connect(ctx, db, o)
	if err != nil {
		return err
	}
	defer s.Close()
	snap, err := s.Export(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	d, err := snap.Dump(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.Copy(io.Discard, d)
	return err
}
