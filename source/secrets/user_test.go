package secrets

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"permafrost/source"
)

// his is the number of a user who is not to be trusted.
const his = 54321

// give makes a path his.
func give(t *testing.T, path string) {
	t.Helper()
	if err := os.Lchown(path, his, his); err != nil {
		t.Fatal(err)
	}
}

// What lies where a user decides is read with that user's rights, whatever way leads there.
func TestCollectFromUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root may do: run it as root")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	private := write(t, dir, "root/private")
	write(t, dir, "root/dir/private")
	for _, name := range []string{"live/own", "live/dir/own", "plain/own", "shared/own"} {
		give(t, write(t, dir, name))
	}
	write(t, dir, "links/x")
	symlink(t, private, dir, "live/link")
	symlink(t, "../root", dir, "live/root")
	symlink(t, "../root/dir", dir, "live/rootdir")
	symlink(t, "../../root/private", dir, "live/dir/private")
	symlink(t, "../live/link", dir, "links/through")
	for _, name := range []string{"live", "live/dir", "live/link", "live/root", "live/rootdir", "live/dir/private"} {
		give(t, filepath.Join(dir, name))
	}
	for _, err := range []error{
		syscall.Mkfifo(filepath.Join(dir, "live", "fifo"), 0o666), os.Chmod(filepath.Join(dir, "shared"), 0o777),
		os.Chmod(filepath.Join(dir, "root", "dir"), 0o700),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ name, want string }{
		{"root/private", ""}, {"live/own", ""}, {"plain/own", ""}, {"live/o*", ""}, {"root/p*", ""},
		{"live/link", "permission denied"}, {"live/root/private", "permission denied"}, {"live/l*", "permission denied"},
		{"live/rootdir", "permission denied"}, {"live/rootdir/p*", "permission denied"}, {"live/dir", "permission denied"},
		{"links", "permission denied"}, {"links/through", "permission denied"}, {"live/fifo", "neither a file nor a directory"},
		{"shared/own", "users other than its owner may write"},
	} {
		files, err := Collect(instance(t), Options{Names: []string{filepath.Join(dir, c.name)}})
		for _, f := range files {
			if strings.HasSuffix(string(f.Data), "private") && c.name != "root/private" && c.name != "root/p*" {
				t.Errorf("%s: %s holds %q", c.name, f.Path, f.Data)
			}
		}
		if c.want == "" {
			if err != nil || len(files) != 2 {
				t.Errorf("%s: %d files, %v", c.name, len(files), err)
			}
		} else if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(c.want, "neither") && source.CauseOf(err).Cause == "" {
			t.Errorf("%s: %v (%v), want %q", c.name, err, source.CauseOf(err), c.want)
		}
	}
}

// Each name that was asked for is stored whole, however many lead to the same files.
func TestCollectUnderEachName(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "srv/releases/1/key")
	write(t, dir, "srv/releases/2/key")
	symlink(t, "releases/2", dir, "srv/current")
	symlink(t, "..", dir, "srv/releases/up")
	l, err := net.Listen("unix", filepath.Join(dir, "srv", "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	var said []string
	files, err := Collect(instance(t), Options{
		Names: []string{filepath.Join(dir, "srv/current"), filepath.Join(dir, "srv"), filepath.Join(dir, "srv/releases"), filepath.Join(dir, "empty")},
		Warn:  func(msg string) { said = append(said, msg) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files[1:] {
		name, _ := filepath.Rel(dir, f.Path)
		got = append(got, name)
	}
	want := []string{"srv/current/key", "srv/releases/1/key", "srv/releases/2/key", "srv/releases/up/current/key"}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if len(said) != 1 || !strings.Contains(said[0], "empty holds no file") {
		t.Errorf("said %q", said)
	}
	for _, name := range []string{"", " ", "\t"} {
		if _, err := Collect(instance(t), Options{Names: []string{name}}); source.CauseOf(err).Cause != CauseNoName {
			t.Errorf("the name %q: %v", name, err)
		}
	}
}

// Directories that lead to each other in many ways end at a limit.
func TestCollectMaze(t *testing.T) {
	dir := t.TempDir()
	for i := range 12 {
		name := string(rune('a' + i))
		write(t, dir, name+"/x/x")
		for j := range 12 {
			if to := string(rune('a' + j)); to != name {
				symlink(t, "../"+to, dir, name+"/"+to)
			}
		}
	}
	if _, err := Collect(instance(t), Options{Names: []string{dir}}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

// The repository's keys are not stored: neither the files that are known nor what looks like one.
func TestCollectNoKeys(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "keys/other")
	known := write(t, dir, "keys/writer.key")
	if err := os.Link(known, filepath.Join(dir, "keys", "second name")); err != nil {
		t.Fatal(err)
	}
	symlink(t, "keys/writer.key", dir, "link")
	for _, name := range []string{"keys/recovery", "recovery"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("a KEY"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	said := 0
	files, err := Collect(instance(t), Options{
		Names: []string{filepath.Join(dir, "keys"), filepath.Join(dir, "recovery"), known, filepath.Join(dir, "link")},
		Keys:  []string{filepath.Join(dir, "link"), filepath.Join(dir, "absent"), ""},
		IsKey: func(data []byte) bool { return bytes.Contains(data, []byte("KEY")) },
		Warn:  func(msg string) { said++ },
	})
	if err != nil || len(files) != 2 || filepath.Base(files[1].Path) != "other" {
		t.Errorf("%d files, %v", len(files), err)
	}
	if said != 6 {
		t.Errorf("%d files were named, want 6", said)
	}
}
