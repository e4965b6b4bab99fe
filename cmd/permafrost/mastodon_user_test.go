package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// nobody is Mastodon's user in these tests, who is not to be trusted: a user with a name, as for peer authentication.
const nobody = 65534

// newKey returns a certificate and its key, in PEM.
func newKey(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// collector is a PostgreSQL server that asks each client for a certificate and a password, and counts what it gets.
type collector struct {
	port int
	got  atomic.Int64
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	cert, key := newKey(t)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &collector{port: l.Addr().(*net.TCPAddr).Port}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert})
		}
	}()
	return c
}

func (c *collector) serve(conn net.Conn, conf *tls.Config) {
	defer conn.Close()
	b := pgproto3.NewBackend(conn, conn)
	m, err := b.ReceiveStartupMessage()
	if _, wantsTLS := m.(*pgproto3.SSLRequest); wantsTLS && err == nil {
		conn.Write([]byte("S"))
		secure := tls.Server(conn, conf)
		if secure.Handshake() != nil {
			return
		}
		c.got.Add(int64(len(secure.ConnectionState().PeerCertificates)))
		b = pgproto3.NewBackend(secure, secure)
		_, err = b.ReceiveStartupMessage()
	}
	if err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationCleartextPassword{})
	b.SetAuthType(pgproto3.AuthTypeCleartextPassword)
	b.Flush()
	if p, err := b.Receive(); err == nil && p.(*pgproto3.PasswordMessage).Password != "" {
		c.got.Add(1)
	}
}

// A lair is what Mastodon's user has on a host where root makes snapshots, and what root has there.
type lair struct {
	t      *testing.T
	server *collector
	live   string // his
	root   string // root's: a password file, a certificate and its key
	home   string // of root, for the program
	repo   string
}

func newLair(t *testing.T) *lair {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root must not be led to: run it as root")
	}
	l := &lair{t: t, server: startCollector(t), live: openDir(t, nobody), root: openDir(t, 0), home: t.TempDir()}
	l.repo = filepath.Join(l.home, "repository")
	cert, key := newKey(t)
	for name, data := range map[string][]byte{"cert": cert, "key": key, "env": []byte("LOCAL_DOMAIN=a.example\n")} {
		l.write(filepath.Join(l.root, name), string(data), 0)
	}
	l.write(filepath.Join(l.home, ".pgpass"), "*:*:*:*:root's password\n", 0)
	if r := l.run("init", "--instance", "a.example"); r.code != exitDone {
		t.Fatalf("init: %s", r.stderr)
	}
	return l
}

func (l *lair) write(path, text string, uid int) {
	l.t.Helper()
	for _, err := range []error{os.WriteFile(path, []byte(text), 0o600), os.Chown(path, uid, uid)} {
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

// settings writes .env.production into a directory, as its user would. The server is his own.
func (l *lair) settings(dir, query string) {
	l.write(filepath.Join(dir, ".env.production"), fmt.Sprintf("LOCAL_DOMAIN=a.example\nDATABASE_URL='postgresql://u@127.0.0.1:%d/n?%s'\n", l.server.port, query), nobody)
}

// run runs a command, which has a minute.
func (l *lair) run(args ...string) result {
	l.t.Helper()
	c := newCommand(l.t, append(args, "-r", l.repo)...)
	c.Env = append(c.Env, "HOME="+l.home, "PERMAFROST_STATE_DIR="+l.home+"/state", "PERMAFROST_CACHE_DIR="+l.home+"/cache", "PERMAFROST_WRITER_KEY="+l.home+"/writer.key")
	end := time.AfterFunc(time.Minute, func() {
		l.t.Errorf("%q hangs", args)
		c.Process.Kill()
	})
	defer end.Stop()
	return c.run(l.t)
}

// Whatever Mastodon's user makes of his directory, his settings and the files that they name: root sends nothing of its own to
// a server of his choice, and waits for nothing.
func TestSnapshotOfHostileUser(t *testing.T) {
	t.Parallel()
	l := newLair(t)
	symlink := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(l.live, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"key", "cert"} {
		symlink(filepath.Join(l.root, name), name)
	}
	symlink(filepath.Join(l.root, "env"), "compose.yml")
	if err := syscall.Mkfifo(filepath.Join(l.live, "fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	open := openDir(t, 0)
	if err := os.Chmod(open, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	l.settings(open, "sslmode=prefer")
	link := filepath.Join(openDir(t, nobody), "live")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	fifoLive := openDir(t, nobody)
	if err := syscall.Mkfifo(filepath.Join(fifoLive, ".env.production"), 0o666); err != nil {
		t.Fatal(err)
	}
	his := filepath.Join(l.live, "permafrost.toml")
	l.write(his, "live = \"/\"\n", 0)
	for _, c := range []struct {
		name, query string
		args        []string
		want        string
	}{
		{"a key of root's", "sslmode=require&sslcert=" + l.root + "/cert&sslkey=" + l.root + "/key", nil, "permission denied"},
		{"links to a key of root's", "sslmode=require&sslcert=" + l.live + "/cert&sslkey=" + l.live + "/key", nil, "permission denied"},
		{"a FIFO for the server's certificate", "sslmode=require&sslrootcert=" + l.live + "/fifo", nil, "not a regular file"},
		{"a FIFO for a key", "sslmode=require&sslcert=" + l.live + "/cert&sslkey=" + l.live + "/fifo", nil, "permission denied"},
		{"an endless file", "sslmode=require&sslrootcert=/dev/zero", nil, "not a regular file"},
		{"root's own password file", "sslmode=prefer", nil, "connecting to the database"},
		{"the live directory a link into one that everybody writes", "", []string{"--live", link}, "root does not act"},
		{"the same, Mastodon's user named", "", []string{"--live", link, "--user", "nobody"}, "connecting to the database"},
		{"the same, named by number", "", []string{"--live", link, "--user", "65534"}, "connecting to the database"},
		{"a FIFO for the settings", "", []string{"--live", fifoLive}, "not a regular file"},
		{"a secret that leads to root's", "", []string{"--secret", l.live + "/compose.yml"}, "permission denied"},
		{"an empty secret", "", []string{"--secret", ""}, "empty"},
		{"a configuration in his directory", "", []string{"--config", his}, "root does not obey"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.t = t
			l.settings(l.live, c.query)
			r := l.run(append([]string{"snapshot", "--live", l.live}, c.args...)...)
			if r.code == exitDone || !strings.Contains(r.stderr, c.want) {
				t.Errorf("code %d, want %q:\n%s", r.code, c.want, r.stderr)
			}
			if n := l.server.got.Swap(0); n > 0 {
				t.Errorf("the server was sent %d certificates or passwords of root's", n)
			}
		})
	}
}
