package redis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"permafrost/internal/sandbox"
	"permafrost/source"
)

// certs holds ca.crt, which this process trusts, and server.crt and server.key, for 127.0.0.1.
var certs string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if certs, err = os.MkdirTemp("", "redis-test-"); err == nil {
			defer os.RemoveAll(certs)
			err = writeCerts(certs)
		}
		if err == nil {
			// The system's roots are read once in a process.
			err = os.Setenv("SSL_CERT_FILE", filepath.Join(certs, "ca.crt"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func writeCerts(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "redis"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	for name, cert := range map[string]*x509.Certificate{"ca.crt": ca, "server.crt": server} {
		der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, name), "CERTIFICATE", der); err != nil {
			return err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "server.key"), "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

func TestTLS(t *testing.T) {
	port := freePort(t)
	r, _ := start(t, "s3cret", with("--repl-diskless-sync-delay", "0", "--tls-port", port, "--tls-auth-clients", "no",
		"--tls-cert-file", filepath.Join(certs, "server.crt"), "--tls-key-file", filepath.Join(certs, "server.key"))...)
	fill(t, r)
	c := source.Redis{Network: "tcp", Addr: "127.0.0.1:" + port, TLS: true, Password: r.Password}
	path, _ := dump(t, connect(t, c), "bgsave")
	loads(t, path, r)
	s := connect(t, c)
	s.client.AddHook(elsewhere)
	path, _ = dump(t, s, "replication")
	loads(t, path, r)

	c.Addr = "localhost:" + port
	var name x509.HostnameError
	if _, err := Connect(t.Context(), c, Options{}); !errors.As(err, &name) {
		t.Errorf("another name: %v", err)
	}
	c.Addr = "127.0.0.1:" + port
	c.TLS = false
	if _, err := Connect(t.Context(), c, Options{}); source.CauseOf(err).Cause != CauseHungUp {
		t.Errorf("without TLS where it is spoken: %v; %v", err, source.CauseOf(err))
	}
}

func TestNoTLS(t *testing.T) {
	t.Parallel() // it waits, mostly
	r, _ := start(t, "")
	c := conf(r)
	c.TLS = true
	if _, err := Connect(t.Context(), c, Options{}); source.CauseOf(err).Cause != CauseNoTLS {
		t.Errorf("TLS where none is spoken: %v; %v", err, source.CauseOf(err))
	}
}

// sentinel runs a Redis Sentinel that watches a master.
func sentinel(t *testing.T, master *sandbox.Redis, password string) *sandbox.Redis {
	t.Helper()
	s, admin := start(t, password, "--sentinel")
	host, port, err := net.SplitHostPort(master.Addr)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Do(t.Context(), "SENTINEL", "MONITOR", "mymaster", host, port, "1").Err(); err != nil {
		t.Fatal(err)
	}
	if master.Password != "" {
		if err := admin.Do(t.Context(), "SENTINEL", "SET", "mymaster", "auth-pass", master.Password).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestSentinel(t *testing.T) {
	master, _ := start(t, "s3cret", with("--repl-diskless-sync-delay", "0")...)
	fill(t, master)
	watch := sentinel(t, master, "watch")
	c := source.Redis{
		Network: "tcp", Password: master.Password,
		Sentinels:      []string{"127.0.0.1:" + freePort(t), watch.Addr}, // the first is down
		SentinelMaster: "mymaster", SentinelPassword: "watch",
	}
	s := connect(t, c)
	if got := s.Facts().Role; got != "master" {
		t.Errorf("role %q", got)
	}
	path, _ := dump(t, s, "bgsave")
	loads(t, path, master)
	s.client.AddHook(elsewhere)
	path, _ = dump(t, s, "replication")
	loads(t, path, master)

	c.SentinelMaster = "other"
	if _, err := Connect(t.Context(), c, Options{}); err == nil || !strings.Contains(err.Error(), `knows no master named "other"`) {
		t.Errorf("unknown master: %v", err)
	}
	c.SentinelPassword = "wr0ng-secret"
	if _, err := Connect(t.Context(), c, Options{}); err == nil || strings.Contains(err.Error(), "wr0ng-secret") {
		t.Errorf("wrong password: %v", err)
	}
}

// A replica serves as well as its master, while it has one.
func TestReplica(t *testing.T) {
	master, _ := start(t, "", with("--repl-diskless-sync-delay", "0")...)
	fill(t, master)
	host, port, _ := net.SplitHostPort(master.Addr)
	replica, admin := start(t, "", with("--repl-diskless-sync-delay", "0", "--replicaof", host, port)...)
	err := poll(t.Context(), func() (bool, error) {
		text, err := admin.Info(t.Context(), "replication").Result()
		return strings.Contains(text, "master_link_status:up"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := connect(t, conf(replica))
	if got := s.Facts().Role; got != "slave" {
		t.Errorf("role %q", got)
	}
	s.client.AddHook(elsewhere)
	path, _ := dump(t, s, "replication")
	loads(t, path, master)
	master.Stop()
	err = poll(t.Context(), func() (bool, error) {
		text, err := admin.Info(t.Context(), "replication").Result()
		return strings.Contains(text, "master_link_status:down"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Dump(t.Context()); source.CauseOf(err).Cause != CauseNoMaster {
		t.Errorf("without a master: %v; %v", err, source.CauseOf(err))
	}
}

// What is not Redis at all gets an error, in bounded time and memory.
func TestNotRedis(t *testing.T) {
	for _, said := range []string{"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", strings.Repeat("x", 1<<20), ""} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				io.CopyN(io.Discard, conn, 1)
				io.WriteString(conn, said)
				conn.Close()
			}
		}()
		c := source.Redis{Network: "tcp", Addr: l.Addr().String()}
		if _, err := Connect(t.Context(), c, Options{}); err == nil {
			t.Errorf("connected to what says %.20q", said)
		}
		s := &Server{conf: c}
		if _, err := s.replicate(t.Context()); err == nil {
			t.Errorf("replicates what says %.20q", said)
		}
	}
}

// With an append-only file a real Redis starts empty on an RDB, but not once it was started without, and told to
// write one.
func TestRestoreAppendOnly(t *testing.T) {
	r, _ := start(t, "", debug...)
	fill(t, r)
	path, _ := dump(t, connect(t, conf(r)), "bgsave")
	rdb, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	place := func() (dir string) {
		dir = t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "redis"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "redis", "dump.rdb"), rdb, 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	size := func(c *goredis.Client) int64 { return c.DBSize(t.Context()).Val() }

	_, naive := startIn(t, place(), "", "--appendonly", "yes")
	if n := size(naive); n != 0 {
		t.Errorf("a Redis with appendonly yes loaded %d keys of dump.rdb", n)
	}

	dir := place()
	first, admin := startIn(t, dir, "")
	if err := admin.ConfigSet(t.Context(), "appendonly", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	err = poll(t.Context(), func() (bool, error) {
		text, err := admin.Info(t.Context(), "persistence").Result()
		return strings.Contains(text, "aof_rewrite_in_progress:0") && strings.Contains(text, "aof_rewrite_scheduled:0"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	if text := admin.Info(t.Context(), "persistence").Val(); !strings.Contains(text, "aof_last_bgrewrite_status:ok") {
		t.Error(text)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "redis", "dump.rdb")); err != nil {
		t.Fatal(err)
	}
	again, c := startIn(t, dir, "", with("--appendonly", "yes")...)
	if n := size(c); n != keys[0] {
		t.Errorf("%d keys, want %d", n, keys[0])
	}
	if a, b := digest(t, client(t, r, 3)), digest(t, client(t, again, 3)); a != b {
		t.Errorf("database 3 is %s, want %s", b, a)
	}
}
