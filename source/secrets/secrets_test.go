package secrets

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"permafrost/source"
)

// write makes a file below dir, and the directories it needs; its content is its name.
func write(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func symlink(t *testing.T, target, dir, name string) {
	t.Helper()
	if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func instance(t *testing.T) *source.Instance {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".env.production"), []byte("LOCAL_DOMAIN=a.example\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	inst, err := source.Load(dir, "", source.Addresses{})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func TestCollect(t *testing.T) {
	inst := instance(t)
	dir := t.TempDir()
	for _, name := range []string{"etc/b", "etc/a/x", "etc/a.b", "glob1", "glob2", "odd[1]", "unnamed"} {
		write(t, dir, name)
	}
	symlink(t, "../unnamed", dir, "etc/link")
	symlink(t, "nowhere", dir, "etc/dangling")
	symlink(t, "self", dir, "etc/self")
	symlink(t, "..", dir, "etc/a/circle")
	if err := syscall.Mkfifo(filepath.Join(dir, "etc", "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := Collect(inst, Options{Names: []string{
		filepath.Join(dir, "glob*"), filepath.Join(dir, "etc"), filepath.Join(dir, "odd[1]"),
		filepath.Join(dir, "etc", "b"), inst.EnvPath,
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files[1:] {
		name, err := filepath.Rel(dir, f.Path)
		if err != nil {
			t.Fatal(err)
		}
		want := name
		if name == "etc/link" {
			want = "unnamed"
		}
		if string(f.Data) != want {
			t.Errorf("%s holds %q", name, f.Data)
		}
		got = append(got, name)
	}
	if want := []string{"glob1", "glob2", "etc/a/x", "etc/a.b", "etc/b", "etc/link", "odd[1]"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if files[0].Path != inst.EnvPath || !bytes.Equal(files[0].Data, inst.Env) || files[0].Mode != 0o640 {
		t.Errorf("the first file is %s, mode %o", files[0].Path, files[0].Mode)
	}
}

func TestCollectAttributes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("this test gives a file away: it wants root")
	}
	path := write(t, t.TempDir(), "key")
	when := time.Unix(1600000000, 987654321)
	for _, err := range []error{os.Chown(path, 12, 34), syscall.Chmod(path, 0o4640), os.Chtimes(path, when, when)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := Collect(instance(t), Options{Names: []string{path}})
	if err != nil {
		t.Fatal(err)
	}
	if f := files[1]; f.Mode != 0o4640 || f.UID != 12 || f.GID != 34 || f.MTime != when.UnixNano() {
		t.Errorf("got %+v", f)
	}
}

func TestCollectErrors(t *testing.T) {
	dir := t.TempDir()
	sparse := write(t, dir, "sparse")
	if err := os.Truncate(sparse, maxBytes+1); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(dir, "dir")
	write(t, big, "x")
	symlink(t, sparse, big, "y")
	symlink(t, "nowhere", dir, "dangling")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"absent": "no such file", "none*": "no file matches", "[": "syntax error", "dangling": "no such file",
		"fifo": "neither a file nor a directory", "sparse": "more than 64 MiB", "dir": "more than 64 MiB",
	} {
		_, err := Collect(instance(t), Options{Names: []string{filepath.Join(dir, name)}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v, want %q and the path", name, err, want)
		}
		if strings.Contains(want, "more than") && source.CauseOf(err).Cause != CauseTooMuch {
			t.Errorf("%s: %v", name, source.CauseOf(err))
		}
	}
}

func TestCollectManyFiles(t *testing.T) {
	dir := t.TempDir()
	first := write(t, dir, "0")
	for i := range maxFiles {
		if err := os.Link(first, filepath.Join(dir, "x"+time.Duration(i).String())); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Collect(instance(t), Options{Names: []string{dir}}); err == nil || !strings.Contains(err.Error(), "10000 files") {
		t.Errorf("got %v", err)
	}
}
