package redis

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// runs is the number of the user that runs the Redis of these tests, mastodon that of the one who connects.
const runs, mastodon = 54321, 54322

// startAs runs a Redis as the user runs. It listens on a TCP port and on a socket that everybody may use.
func startAs(t *testing.T, dir string) (tcp, unix source.Redis) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", strconv.Itoa(addr.Port), "--dir", dir, "--save", "",
		"--unixsocket", socket, "--unixsocketperm", "777")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: runs, Gid: runs}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return source.Redis{Network: "tcp", Addr: addr.String()}, source.Redis{Network: "unix", Addr: socket}
}

// Root reads a file that a Redis names with the rights of the user that this Redis runs as.
func TestFilesOfRedis(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root may do: run it as root")
	}
	dir := t.TempDir()
	for _, err := range []error{
		os.Chmod(filepath.Dir(dir), 0o755), os.Chown(dir, runs, runs),
		os.WriteFile(filepath.Join(dir, "root's"), []byte("REDIS0009"), 0o600),
		os.Symlink("root's", filepath.Join(dir, "link")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o666),
		os.Symlink("/dev/zero", filepath.Join(dir, "endless")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tcp, socket := startAs(t, dir)
	for _, conf := range []source.Redis{tcp, socket} {
		s, err := Connect(t.Context(), conf, Options{User: &hostfs.User{UID: mastodon, GID: mastodon, Groups: []uint32{mastodon}}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if u, err := s.runner(); err != nil || u == nil || u.UID != runs {
			t.Errorf("%v is run by %v, %v", conf, u, err)
		}
		for name, want := range map[string]error{
			"root's": fs.ErrPermission, "link": fs.ErrPermission, "fifo": hostfs.ErrNotRegular, "endless": hostfs.ErrNotRegular, "none": fs.ErrNotExist,
		} {
			if f, err := s.openFile(filepath.Join(dir, name)); !errors.Is(err, want) {
				t.Errorf("%v, %s: opened %v, %v", conf, name, f, err)
			}
		}
		d, err := s.Dump(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if _, err := io.Copy(io.Discard, d); err != nil || d.Facts().Method != bgsave {
			t.Errorf("%v: by %s (%s): %v", conf, d.Facts().Method, d.Facts().Why, err)
		}
	}
}

// What Mastodon's user lets a Redis of root's name is not read at all: it may be a proxy of his own choice.
func TestFilesOfRootsRedis(t *testing.T) {
	r, _ := start(t, "")
	s, err := Connect(t.Context(), conf(r), Options{User: &hostfs.User{UID: mastodon, GID: mastodon, Groups: []uint32{mastodon}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dump(t, s, replication)
}

// A socket is connected to with the rights of Mastodon's user.
func TestSocketOfRoots(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Connect(t.Context(), source.Redis{Network: "unix", Addr: path}, Options{User: &hostfs.User{UID: mastodon, GID: mastodon}})
	if !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}
