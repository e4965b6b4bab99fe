package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// serverUser is who runs the cluster.
func serverUser(t *testing.T) (uid, gid int) {
	t.Helper()
	u, err := user.Lookup(cluster.OSUser)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid
}

// writeFor writes a file of the server's user.
func writeFor(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	uid, gid := serverUser(t)
	if err := os.Chown(path, uid, gid); err != nil {
		t.Fatal(err)
	}
}

// certificate makes a self-signed one for 127.0.0.1.
func certificate(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
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

// With sslmode=verify-full both the connection and pg_dump check the server's certificate against
// sslrootcert, or else against the one in the home directory of Mastodon's user.
func TestTLS(t *testing.T) {
	db := newDatabase(t)
	data := query(t, db.Name, "show data_directory")
	cert, key := certificate(t)
	writeFor(t, filepath.Join(data, "server.crt"), cert)
	writeFor(t, filepath.Join(data, "server.key"), key)
	ssl := func(value string) {
		sql(t, "postgres", "alter system set ssl = "+value)
		sql(t, "postgres", "select pg_reload_conf()")
		for deadline := time.Now().Add(10 * time.Second); query(t, "postgres", "show ssl") != value; {
			if time.Now().After(deadline) {
				t.Fatalf("ssl does not turn %s", value)
			}
		}
	}
	ssl("on")
	defer ssl("off")

	other, _ := certificate(t)
	home := t.TempDir()
	root, wrong := filepath.Join(home, ".postgresql", "root.crt"), filepath.Join(home, "wrong.crt")
	if err := os.Mkdir(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{root: cert, wrong: other} {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	db.SSLMode, db.Params = "verify-full", map[string]string{"sslrootcert": root}
	d := startDump(t, export(t, connect(t, db, Options{})))
	if _, err := io.Copy(io.Discard, d); err != nil {
		t.Fatal(err)
	}
	db.Params = map[string]string{"sslrootcert": wrong}
	if _, err := Connect(context.Background(), db, Options{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("the wrong certificate: %v", err)
	}
	db.Params = nil
	if err := os.Chmod(filepath.Dir(home), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &Server{db: db, opts: Options{User: &hostfs.User{UID: 54321, GID: 54321, Home: home}}}
	config, err := s.connConfig()
	if err != nil {
		t.Fatal(err)
	}
	s.config = config
	conn, err := s.open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	closeConn(conn)
}

// A hot standby can be dumped as well.
func TestReplica(t *testing.T) {
	db := newDatabase(t)
	replica := db
	replica.Port = startReplica(t)
	s := connect(t, replica, Options{})
	if !s.Facts().InRecovery || s.Facts().LSN == "" {
		t.Errorf("got %+v", s.Facts())
	}
	snap := export(t, s)
	d := startDump(t, snap)
	if _, err := io.Copy(io.Discard, d); err != nil {
		t.Fatal(err)
	}
	if snap.LSN == "" || d.Facts().Kinds["TABLE DATA"] != 3 {
		t.Errorf("LSN %q, %+v", snap.LSN, d.Facts())
	}
}

// startReplica runs a standby of the cluster and returns its port.
func startReplica(t *testing.T) int {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	uid, gid := serverUser(t)
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, uid, gid); err != nil {
		t.Fatal(err)
	}
	command := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(cluster.BinDir, name), args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
		return cmd
	}
	primary := fmt.Sprintf("host=%s port=%d user=%s password=%s", cluster.Host, cluster.Port, cluster.User, cluster.Password)
	if out, err := command("pg_basebackup", "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", primary).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	port := freePort(t)
	cmd := command("postgres", "-D", data, "-p", strconv.Itoa(port), "-c", "unix_socket_directories="+data)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGQUIT)
		cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	db := source.Database{Host: "127.0.0.1", Port: port, Name: "postgres", User: cluster.User, Password: cluster.Password, SSLMode: "prefer"}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s, err := Connect(context.Background(), db, Options{})
		if err == nil {
			s.Close()
			return port
		}
		if time.Now().After(deadline) {
			t.Fatalf("the standby does not answer: %v", err)
		}
	}
}
