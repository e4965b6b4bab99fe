package postgres

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"permafrost/internal/sandbox"
	"permafrost/source"
)

// Each thing that commonly goes wrong gives one line that says what, with a cause and without a password.
func TestConnectErrors(t *testing.T) {
	db := newDatabase(t)
	change := func(f func(*source.Database)) source.Database { d := db; f(&d); return d }
	for _, c := range []struct {
		name  string
		db    source.Database
		want  string
		cause source.Cause
	}{
		{"wrong password", change(func(d *source.Database) { d.Password = "hunter2" }), "password authentication failed", CauseWrongPassword},
		{"no password", change(func(d *source.Database) { d.Password = "" }), "password", ""},
		{"no such role", change(func(d *source.Database) { d.User, d.Password = "absent", "hunter2" }), "password authentication failed", CauseWrongPassword},
		{"no such database", change(func(d *source.Database) { d.Name = "absent" }), `database "absent" does not exist`, CauseNoDatabase},
		{"server gone", change(func(d *source.Database) { d.Port = freePort(t) }), "connection refused", CauseNoServer},
		{"server gone, PgBouncer suspected", change(func(d *source.Database) { d.Port, d.Pooler = freePort(t), true }), "connection refused", CauseNoServer},
		{"socket gone", change(func(d *source.Database) { d.Host = t.TempDir() }), "no such file", CauseNoServer},
		{"unknown host", change(func(d *source.Database) { d.Host = "db.invalid" }), "db.invalid", CauseNoServer},
		{"no TLS", change(func(d *source.Database) { d.SSLMode = "require" }), "TLS", CauseNoTLS},
		{"silence", change(func(d *source.Database) {
			d.Port, d.Params = silentPort(t), map[string]string{"connect_timeout": "1"}
		}), "", CauseNoServer},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Connect(context.Background(), c.db, Options{})
			if err == nil {
				t.Fatal("it connects")
			}
			text := err.Error()
			if !strings.Contains(text, c.want) || source.CauseOf(err).Cause != c.cause && c.cause != "" {
				t.Errorf("got %v (%v), want %q and %s", err, source.CauseOf(err), c.want, c.cause)
			}
			var failed *ConnectError
			if !errors.As(err, &failed) || failed.Pooler != c.db.Pooler {
				t.Errorf("got %#v", err)
			}
			if strings.Contains(text, "\n") || !strings.Contains(text, "connecting to the database "+c.db.Name+" at ") {
				t.Errorf("got %q", text)
			}
			if strings.Contains(text+strings.Join(source.CauseOf(err).Facts, " "), "hunter2") || strings.Contains(text, cluster.Password) {
				t.Errorf("a password in %q", text)
			}
		})
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// silentPort is one that takes connections and never answers.
func silentPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port
}

func TestConnectCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	db := source.Database{Host: "127.0.0.1", Port: silentPort(t), Name: "n", User: "u", SSLMode: "prefer"}
	if _, err := Connect(ctx, db, Options{}); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("got %v", err)
	}
}

// A real PgBouncer is refused in each of its modes, however its port looks.
func TestPgBouncer(t *testing.T) {
	db := newDatabase(t)
	for _, mode := range []string{"transaction", "session", "statement"} {
		t.Run(mode, func(t *testing.T) {
			through := db
			through.Port = startPgBouncer(t, db, mode)
			for _, pooler := range []bool{false, true} {
				through.Pooler = pooler
				_, err := Connect(context.Background(), through, Options{})
				if err == nil || !strings.Contains(err.Error(), "connection pooler") || source.CauseOf(err).Cause != CausePooler {
					t.Errorf("got %v (%v)", err, source.CauseOf(err))
				}
			}
			// It words some refusals in its own way; those are understood as well.
			through.Name, through.Pooler = "absent", false
			if _, err := Connect(context.Background(), through, Options{}); err == nil || !strings.Contains(err.Error(), "connection pooler") {
				t.Errorf("an absent database: %v", err)
			}
		})
	}
	// What only looks like one works.
	db.Pooler = true
	connect(t, db, Options{})
}

// startPgBouncer runs a PgBouncer before the database and returns its port.
func startPgBouncer(t *testing.T, db source.Database, mode string) int {
	t.Helper()
	b, err := sandbox.StartPgBouncer(t.Context(), t.TempDir(), cluster, db.Name, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Stop() })
	return b.Port
}
