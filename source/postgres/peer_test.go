package postgres

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

func lookup(t testing.TB, name string) *hostfs.User {
	t.Helper()
	u, err := hostfs.LookupUser(name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test becomes another user: it wants root")
	}
}

// A process of root gets through peer authentication as Mastodon's user, with its connection and with its
// children, and is root's again afterwards in each of its threads.
func TestPeer(t *testing.T) {
	wantRoot(t)
	for name, password := range map[string]string{"no password": "", "a password of no use": "left over"} {
		t.Run(name, func(t *testing.T) {
			db := newDatabase(t)
			db.Host, db.Password = cluster.SocketDir, password
			s := connect(t, db, Options{User: lookup(t, cluster.OSUser)})
			if f := s.Facts(); f.Login != "" || f.Host != cluster.SocketDir {
				t.Errorf("it asks for a password: %q, at %s", f.Login, f.Host)
			}
			d := startDump(t, export(t, s))
			if _, err := io.Copy(io.Discard, d); err != nil {
				t.Fatal(err)
			}
			checkRoot(t)
		})
	}
}

// checkRoot fails the test if a thread of this process is not root's in every respect.
func checkRoot(t *testing.T) {
	t.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		t.Fatalf("threads %v, %v", tasks, err)
	}
	ids := regexp.MustCompile(`(?m)^(Uid|Gid|Groups):\s*(.*)$`)
	want := ""
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if os.IsNotExist(err) {
			continue // ended meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(ids.FindAllString(string(data), -1), "|")
		if !strings.Contains(got, "Uid:\t0\t0\t0\t0|Gid:\t0\t0\t0\t0") || want != "" && got != want {
			t.Errorf("%s: %s", task, got)
		}
		want = got
	}
}

func TestPeerRefused(t *testing.T) {
	wantRoot(t)
	db := newDatabase(t)
	db.Host, db.Password = cluster.SocketDir, ""
	for _, u := range []*hostfs.User{nil, lookup(t, "nobody"), lookup(t, "54321")} {
		_, err := Connect(context.Background(), db, Options{User: u})
		if err == nil || !strings.Contains(err.Error(), "Peer authentication failed") {
			t.Errorf("as %v: %v", u, err)
		}
		want := CauseNotAdmitted
		if u != nil && u.Name == "" {
			want = CauseNamelessUser
		}
		if got := source.CauseOf(err).Cause; got != want {
			t.Errorf("as %v: %s, want %s", u, got, want)
		}
		checkRoot(t)
	}
}

// The password file is written as libpq reads it, and for one user only.
func TestPassFile(t *testing.T) {
	wantRoot(t)
	id := lookup(t, "nobody")
	f, err := passFile(`a:b\c`, id)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data := make([]byte, 100)
	n, err := f.ReadAt(data, 0)
	if err != io.EOF || string(data[:n]) != `*:*:*:*:a\:b\\c`+"\n" {
		t.Errorf("got %q, %v", data[:n], err)
	}
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != id.UID {
		t.Errorf("%+v, %v", info, err)
	}
	for _, password := range []string{"a\nb", "a\rb", "a\x00b"} {
		if _, err := passFile(password, nil); err == nil {
			t.Errorf("%q is taken", password)
		}
	}
}
