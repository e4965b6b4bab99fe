package main

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/internal/sandbox"
)

// A night on which nothing changed stores next to nothing, and opens no media file.
func (w *witness) testUnchanged(t *testing.T) {
	watch := watchFiles(t, w.root)
	w.run(exitDated, "snapshot", "--date", "2026-06-27")
	if opened := watch.opened(t); len(opened) > 0 {
		t.Errorf("files were opened, %d times: %q", len(opened), opened[:min(len(opened), 8)])
	}
	lines := w.snapshots(t)
	if first, second := lines[0].Stored, lines[1].Stored; second*100 >= first {
		t.Errorf("the second night stored %d bytes, the first %d", second, first)
	}
	// The watch does notice.
	if _, err := os.ReadFile(filepath.Join(w.root, "site_uploads", "thumbnail.jpg")); err != nil {
		t.Fatal(err)
	}
	if opened := watch.opened(t); len(opened) == 0 {
		t.Error("a file that was opened goes unnoticed")
	}
}

// A fileWatch hears of the files below a directory that are opened or read.
type fileWatch struct {
	fd   int
	dirs map[int32]string
}

func watchFiles(t *testing.T, root string) *fileWatch {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	w := &fileWatch{fd, make(map[int32]string)}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		wd, err := unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_ACCESS)
		w.dirs[int32(wd)] = path
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.opened(t) // the walk's own directories
	return w
}

// opened returns what was opened or read since the last call. Directories do not count.
func (w *fileWatch) opened(t *testing.T) (paths []string) {
	t.Helper()
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(w.fd, buf)
		if err == unix.EAGAIN {
			return paths
		}
		if err != nil {
			t.Fatal(err)
		}
		for b := buf[:n]; len(b) > 0; { // watch, mask, cookie, length, name
			mask, length := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
			name := string(bytes.TrimRight(b[16:16+length], "\x00"))
			if mask&unix.IN_Q_OVERFLOW != 0 {
				t.Fatal("more events than the kernel keeps")
			}
			if mask&unix.IN_ISDIR == 0 {
				paths = append(paths, filepath.Join(w.dirs[int32(binary.NativeEndian.Uint32(b))], name))
			}
			b = b[16+length:]
		}
	}
}

// Nothing that is stored can be read, names included.
func (w *witness) testPlaintext(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "restored")
	w.run(exitDone, "restore", "-i", w.recovery, "--date", "2026-06-26", "--target", dir)
	m := &sandbox.Markers
	probes := map[string]string{"status": m.Status, "account": m.Account, "secret": m.Secret, "job": m.Job,
		"file name": m.FileName, "file content": m.FileContent, "password": w.Redis.Password}
	for name := range probes {
		if !holds(t, dir, probes[name]) {
			t.Errorf("the %s is not in what was restored: looking for it proves nothing", name)
		}
	}
	// What can't be compressed would show itself even where text is packed: bytes from the middle of each part.
	for _, name := range append([]string{"public-system/site_uploads/thumbnail.jpg"}, fileParts...) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || len(data) < 64 {
			t.Fatalf("%s: %d bytes, %v", name, len(data), err)
		}
		probes["middle of "+name] = string(data[len(data)/2:][:24])
	}
	for name, text := range probes {
		if holds(t, w.place(), text) {
			t.Errorf("the %s stands in the store", name)
		}
	}
}

// holds reports whether a text is in a name or a file below a directory.
func holds(t *testing.T, dir, text string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || found {
			return err
		}
		name, err := filepath.Rel(dir, path)
		found = strings.Contains(name, text)
		if err != nil || found || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		found = bytes.Contains(data, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A host that has the writer file and nothing else does its work, and can't read anything back.
func (w *witness) testHost(t *testing.T) {
	host := w.machine("writer.key")
	host.run(exitDated, "snapshot", "--date", "2026-06-28")
	lines := host.snapshots(t)
	if n := len(lines); n != 3 || lines[n-1].Date != "2026-06-28" {
		t.Fatalf("snapshots %+v", lines)
	}
	host.run(exitDone, "check")
	host.run(exitDone, "check", "--read-data")
	for _, args := range [][]string{
		{"restore", "--date", "2026-06-26", "--target", filepath.Join(host.home, "stolen")},
		{"dump", "latest", "secrets"},
		{"dump", "latest", "media/site_uploads/thumbnail.jpg"},
	} {
		told(t, host.run(exitWrongKey, args...), "owner key", "recovery file", "-i ")
	}
	host.run(exitDone, "forget", lines[2].ID)
	if left := host.snapshots(t); len(left) != 2 {
		t.Errorf("left are %+v", left)
	}
	w.intact()
}

// The recovery file opens the repository by itself, with all other keys gone from the server.
func (w *witness) testRecoveryFile(t *testing.T) {
	recipient := (&desk{t, w.home}).newIdentity("admin.age")
	added := w.run(exitDone, "key", "add", "owner", recipient, "--name", "admin", "-i", w.recovery)
	fingerprint := fingerprintPattern.FindString(added.stderr + added.stdout)
	keys, err := filepath.Glob(filepath.Join(w.place(), "keys", "*"))
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	admin := w.machine("admin.age")
	admin.recovery = filepath.Join(admin.home, "admin.age")
	admin.run(exitDone, "snapshots", "-i", "admin.age", "--fingerprint", fingerprint)
	admin.intact()
	aside := filepath.Join(t.TempDir(), "keys")
	if err := os.Rename(filepath.Dir(keys[0]), aside); err != nil {
		t.Fatal(err)
	}
	told(t, w.machine("admin.age").run(exitWrongKey, "snapshots", "-i", "admin.age", "--fingerprint", fingerprint), "opens none")
	w.machine("recovery.key").intact()
	if err := os.Rename(aside, filepath.Dir(keys[0])); err != nil {
		t.Fatal(err)
	}
}
