package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"permafrost/snapshot/backup"
	"permafrost/source"

	"permafrost/internal/snaptest"

	"golang.org/x/sys/unix"

	"permafrost/internal/storetest"
)

// mount mounts a file system in memory for a test.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options+",mode=0755"); err != nil {
		t.Fatalf("mounting a small file system, which takes root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Room is looked for in blocks and inodes, before anything is written; --force tries it all the same, and what came is whole.
func TestRestoreRoom(t *testing.T) {
	inst := host(t)
	root := snaptest.OpenDir(t)
	inst.Media.Root = root
	for i := range 300 {
		snaptest.WriteFiles(t, root, snaptest.File{Path: fmt.Sprintf("d/%d", i), Data: []byte{byte(i)}})
	}
	large := storetest.Random(1, 3<<20)
	snaptest.WriteFiles(t, root, snaptest.File{Path: "large", Data: large})
	w := newWorld(t)
	res := w.create(inst, backup.Options{})
	r := w.Open(w.Owner)
	for _, c := range []struct {
		name, options string
		says          []string
	}{
		{"inodes", "size=64m,nr_inodes=100", []string{"inodes for 99 files", "needs 303"}},
		{"blocks", "size=4m", []string{"has 4.0 MiB free", "needs 4.2 MiB"}}, // 3 MiB and 302 blocks
		{"bytes", "size=2m", []string{"has 2.0 MiB free", "needs 4.2 MiB"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Target: mount(t, c.options), Components: []string{"media"}}
			_, err := Restore(t.Context(), r, res.Ref, o)
			if source.CauseOf(err).Cause != CauseNoRoom {
				t.Fatalf("no room is looked for: %v", err)
			}
			for _, text := range append(c.says, o.Target) {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("the error does not say %q: %v", text, err)
				}
			}
			if names, err := os.ReadDir(o.Target); err != nil || len(names) > 0 {
				t.Errorf("written before it was refused: %v, %v", names, err)
			}
			var warned []string
			o.Force, o.Warn = true, func(err error) { warned = append(warned, err.Error()) }
			_, err = Restore(t.Context(), r, res.Ref, o)
			if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), o.Target+" has ") || source.CauseOf(err).Cause != CauseNoSpace || len(warned) == 0 || !strings.Contains(warned[0], "anyway") {
				t.Errorf("by force: %v; warned %q", err, warned)
			}
			whole(t, root, filepath.Join(o.Target, mediaDir))
		})
	}
	if _, err := Restore(t.Context(), r, res.Ref, Options{Target: mount(t, "size=5m,nr_inodes=400"), Components: []string{"media"}}); err != nil {
		t.Errorf("there is room: %v", err)
	}
}

// whole looks whether the files of got, some of those of want, have all of their content.
func whole(t *testing.T, want, got string) {
	t.Helper()
	err := filepath.WalkDir(got, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(got, path)
		a, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if b, err := os.ReadFile(filepath.Join(want, name)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s has %d bytes of %d: %v", name, len(a), len(b), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Holes take no room.
func TestRestoreSparse(t *testing.T) {
	inst := host(t)
	root := snaptest.OpenDir(t)
	inst.Media.Root = root
	snaptest.WriteFiles(t, root, snaptest.File{Path: "sparse", Data: []byte("data")}, snaptest.File{Path: "scattered"})
	if err := os.Truncate(filepath.Join(root, "sparse"), 1<<40); err != nil {
		t.Fatal(err)
	}
	// More data and holes than an entry has room for.
	f, err := os.OpenFile(filepath.Join(root, "scattered"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(64) {
		if _, err := f.WriteAt([]byte("data"), i<<33); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(1<<40), f.Close()); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	res := w.create(inst, backup.Options{})
	target := mount(t, "size=2m")
	if _, err := Restore(t.Context(), w.Open(w.Owner), res.Ref, Options{Target: target, Components: []string{"media"}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sparse", "scattered"} {
		info, err := os.Stat(filepath.Join(target, mediaDir, name))
		if err != nil || info.Size() != 1<<40 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}
