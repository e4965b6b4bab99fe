package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"permafrost/internal/fuzzing"
	"permafrost/internal/hostfs"
	"permafrost/source"
)

// A rogue is a PostgreSQL server of Mastodon's user's choice. It asks for all that a client can send, and notes it.
type rogue struct {
	port int
	tls  *tls.Config

	mu        sync.Mutex
	passwords []string
	certs     int
	clients   int
}

func startRogue(t *testing.T) *rogue {
	t.Helper()
	cert, key := certificate(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &rogue{port: l.Addr().(*net.TCPAddr).Port, tls: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r
}

func (r *rogue) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	b := pgproto3.NewBackend(conn, conn)
	for {
		m, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, ok := m.(*pgproto3.SSLRequest); !ok {
			break
		}
		conn.Write([]byte("S"))
		secure := tls.Server(conn, r.tls)
		if secure.Handshake() != nil {
			return
		}
		r.mu.Lock()
		r.certs += len(secure.ConnectionState().PeerCertificates)
		r.mu.Unlock()
		b = pgproto3.NewBackend(secure, secure)
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
	b.Flush()
	m, err := b.Receive()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clients++
	if p, ok := m.(*pgproto3.PasswordMessage); ok && err == nil && p.Password != "" {
		r.passwords = append(r.passwords, p.Password)
	}
	b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no"})
	b.Flush()
}

// take returns what has been noted, and forgets it.
func (r *rogue) take() (passwords []string, certs, clients int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.passwords, r.certs, r.clients = nil, 0, 0 }()
	return r.passwords, r.certs, r.clients
}

// A home is that of Mastodon's user, beside which root has files.
type home struct {
	dir, root string
	user      *hostfs.User
}

func newHome(t *testing.T) *home {
	t.Helper()
	wantRoot(t)
	base := t.TempDir()
	h := &home{dir: filepath.Join(base, "home"), root: filepath.Join(base, "root")}
	h.user = &hostfs.User{UID: 54321, GID: 54321, Groups: []uint32{54321}, Home: h.dir}
	cert, key := certificate(t)
	for _, err := range []error{
		os.Chmod(filepath.Dir(base), 0o755),
		os.MkdirAll(filepath.Join(h.dir, ".postgresql"), 0o755), os.MkdirAll(filepath.Join(h.root, ".postgresql"), 0o755),
		os.WriteFile(filepath.Join(h.root, ".pgpass"), []byte("*:*:*:*:root's password\n"), 0o600),
		os.WriteFile(filepath.Join(h.root, ".postgresql", "postgresql.crt"), cert, 0o600),
		os.WriteFile(filepath.Join(h.root, ".postgresql", "postgresql.key"), key, 0o600),
		os.WriteFile(filepath.Join(h.root, ".postgresql", "root.crt"), cert, 0o600),
		os.WriteFile(filepath.Join(h.root, "services"), []byte("[s]\npassword=root's password\n"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// plants are what stands where a file is looked for; target is a file of root's.
var plants = map[string]func(path, target string) error{
	"a link to root's":  func(path, target string) error { return os.Symlink(target, path) },
	"a FIFO":            func(path, _ string) error { return syscall.Mkfifo(path, 0o666) },
	"an endless device": func(path, _ string) error { return os.Symlink("/dev/zero", path) },
	"a terminal":        func(path, _ string) error { return os.Symlink("/dev/ptmx", path) },
	"a directory":       func(path, _ string) error { return os.Mkdir(path, 0o755) },
	"a socket": func(path, _ string) error {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err == nil {
			l.SetUnlinkOnClose(false)
			l.Close()
		}
		return err
	},
	"a huge file": func(path, _ string) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(1 << 40)
	},
}

// No server gets what is root's, whatever Mastodon's user plants where his settings or his home name a file. Nothing is waited
// for, and nothing is read without end.
func TestRogueServer(t *testing.T) {
	r := startRogue(t)
	for what, plant := range plants {
		for _, file := range []string{".pgpass", ".postgresql/root.crt", ".postgresql/postgresql.key", "sslrootcert", "sslcert", "sslkey"} {
			// A short name: a socket's path has 107 bytes.
			t.Run(what+" for "+filepath.Base(file), func(t *testing.T) {
				h := newHome(t)
				target := map[string]string{"sslrootcert": ".postgresql/root.crt", "sslcert": ".postgresql/postgresql.crt", "sslkey": ".postgresql/postgresql.key"}[file]
				params := make(map[string]string)
				if target == "" {
					target = file
				} else {
					params = map[string]string{"sslcert": filepath.Join(h.root, ".postgresql/postgresql.crt"), "sslkey": filepath.Join(h.root, ".postgresql/postgresql.key")}
					params[file] = filepath.Join(h.dir, file)
				}
				if err := plant(filepath.Join(h.dir, file), filepath.Join(h.root, target)); err != nil {
					t.Fatal(err)
				}
				if file == ".postgresql/postgresql.key" {
					os.Symlink(filepath.Join(h.root, ".postgresql/postgresql.crt"), filepath.Join(h.dir, ".postgresql/postgresql.crt"))
				}
				h.attack(t, r, params)
			})
		}
	}
}

// What root's own environment and home name takes no part.
func TestRogueServerRootsOwn(t *testing.T) {
	r := startRogue(t)
	h := newHome(t)
	for name, value := range map[string]string{
		"HOME": h.root, "PGPASSFILE": filepath.Join(h.root, ".pgpass"), "PGPASSWORD": "root's password",
		"PGSSLCERT": filepath.Join(h.root, ".postgresql/postgresql.crt"), "PGSSLKEY": filepath.Join(h.root, ".postgresql/postgresql.key"),
		"PGSERVICE": "s", "PGSERVICEFILE": filepath.Join(h.root, "services"),
	} {
		t.Setenv(name, value)
	}
	h.attack(t, r, nil)
}

// attack connects to the rogue as Mastodon's user, who has no password.
func (h *home) attack(t *testing.T, r *rogue, params map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	begin := time.Now()
	db := source.Database{Host: "127.0.0.1", Port: r.port, Name: "n", User: "u", SSLMode: "require", Params: params}
	_, err := Connect(ctx, db, Options{User: h.user})
	if err == nil || ctx.Err() != nil || time.Since(begin) > 15*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
	if passwords, certs, _ := r.take(); len(passwords) > 0 || certs > 0 {
		t.Errorf("the server was sent %q and %d certificates", passwords, certs)
	}
	if strings.Contains(fmt.Sprint(err), "/proc/self/fd") {
		t.Errorf("the error names no file of his: %v", err)
	}
}

// What is his own does get there.
func TestOwnFilesAreSent(t *testing.T) {
	r := startRogue(t)
	h := newHome(t)
	if err := os.RemoveAll(h.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(h.dir, os.DirFS(h.root)); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(h.dir, func(path string, _ os.FileInfo, err error) error {
		if err == nil {
			err = os.Chown(path, int(h.user.UID), int(h.user.GID))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The certificate at home is not the rogue's: it counts where it is asked for alone.
	if err := os.Remove(filepath.Join(h.dir, ".postgresql/root.crt")); err != nil {
		t.Fatal(err)
	}
	db := source.Database{Host: "127.0.0.1", Port: r.port, Name: "n", User: "u", SSLMode: "require"}
	if _, err := Connect(t.Context(), db, Options{User: h.user}); err == nil {
		t.Error("the rogue lets in")
	}
	if passwords, certs, _ := r.take(); len(passwords) != 1 || certs != 1 {
		t.Errorf("the server was sent %q and %d certificates", passwords, certs)
	}
}

// A child that is halted, or waits for a server that does not answer, ends the dump when it has been still for too long.
func TestHaltedChildren(t *testing.T) {
	t.Parallel() // it waits, mostly
	db := newDatabase(t)
	fill(t, db.Name, 10)
	halt := "kill -STOP $$"
	for name, c := range map[string]struct{ dump, restore, want string }{
		"pg_dump at once":            {dump: halt, want: "pg_dump has given nothing"},
		"pg_dump in the middle":      {dump: `"$real" "$@" | head -c 600000; ` + halt, want: "pg_dump has given nothing"},
		"pg_dump after its output":   {dump: `"$real" "$@"; exec >&-; ` + halt, want: "pg_dump failed: signal: killed"},
		"pg_restore at once":         {restore: halt, want: "pg_restore has taken nothing"},
		"pg_restore after its input": {restore: "cat >/dev/null; " + halt, want: "pg_restore failed: signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := connect(t, db, Options{BinDir: wrap(t, c.dump, c.restore)})
			s.silence = 4 * time.Second
			d, err := export(t, s).Dump(t.Context())
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

// A server that talks without end is hung up on.
func TestTalkativeServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := pgproto3.NewBackend(conn, conn)
		_, err = b.ReceiveStartupMessage()
		b.Send(&pgproto3.AuthenticationOk{})
		for i := 0; err == nil; i++ {
			b.Send(&pgproto3.ParameterStatus{Name: fmt.Sprint("p", i), Value: strings.Repeat("x", 1000)})
			err = b.Flush()
		}
	}()
	db := source.Database{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Name: "n", User: "u", SSLMode: "disable"}
	fuzzing.Bound(t, 8*maxHeard, func() { _, err = Connect(t.Context(), db, Options{}) })
	if err == nil || !strings.Contains(err.Error(), errTalkative.Error()) {
		t.Errorf("got %v", err)
	}
}
