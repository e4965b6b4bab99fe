package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/hint"
	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/cause"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
	"permafrost/repo/upkeep"
)

// A machine is a directory of what a host remembers of a world's repository.
type machine struct {
	*world
	dir   string
	notes []string
}

func (m *machine) open(o repo.Options) (*repo.Repo, error) {
	o.StateDir, o.CacheDir = filepath.Join(m.dir, "state"), filepath.Join(m.dir, "cache")
	o.Note = func(s string) { m.notes = append(m.notes, s) }
	return openRepo(m.t.Context(), m.store, m.writer, o)
}

// night is all that a host does in a night: a snapshot, a check of everything, a prune.
func (m *machine) night(o repo.Options, day int) error {
	r, err := m.open(o)
	if err != nil {
		return err
	}
	if _, _, err := snapshot(m.t.Context(), r, night(uint64(day)), day); err != nil {
		return err
	}
	if r, err = m.open(repo.Options{}); err != nil {
		return err
	}
	_, err = upkeep.Check(m.t.Context(), r, mark, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}, Problem: func(err error) { m.t.Error(err) }})
	if err == nil {
		_, err = upkeep.Prune(m.t.Context(), r, mark, upkeep.PruneOptions{})
	}
	return err
}

// restore reads all that the night of a day has stored, with the owner's key and what the machine has kept.
func (m *machine) restore(day int) error {
	r, err := openRepo(m.t.Context(), m.store, m.owner, repo.Options{StateDir: filepath.Join(m.dir, "state"), CacheDir: filepath.Join(m.dir, "cache")})
	if err != nil {
		return err
	}
	all := r.Snapshots()
	return verify(m.t.Context(), r, all[len(all)-1], night(uint64(day)))
}

// files returns what lies below the machine's directory.
func (m *machine) files() (files []string) {
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return files
}

// newMachine returns a machine after its first night.
func newMachine(t *testing.T, st store.Store) *machine {
	t.Helper()
	m := &machine{world: newWorld(t, st, repo.InitOptions{}), dir: t.TempDir()}
	if err := m.night(repo.Options{}, 1); err != nil {
		t.Fatal(err)
	}
	return m
}

// copyOf returns the machine as it stands, with a store of its own, for a test to spoil.
func (m *machine) copyOf(t *testing.T) *machine {
	t.Helper()
	w := *m.world
	w.t, w.store = t, m.store.(*storetest.Mem).CloneFor(t)
	c := &machine{world: &w, dir: filepath.Join(t.TempDir(), "copy")}
	if err := os.CopyFS(c.dir, os.DirFS(m.dir)); err != nil {
		t.Fatal(err)
	}
	return c
}

// inTime fails the test where f hangs.
func inTime(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
		return nil
	}
}

// spoilings are what becomes of a file.
var spoilings = map[string]func(path string, data []byte) error{
	"empty": func(path string, _ []byte) error { return os.Truncate(path, 0) },
	"cut":   func(path string, data []byte) error { return os.Truncate(path, int64(len(data)/2)) },
	"flipped": func(path string, data []byte) error {
		if len(data) > 0 {
			data[len(data)/2] ^= 4
		}
		return os.WriteFile(path, data, 0o600)
	},
	"longer": func(path string, data []byte) error { return os.WriteFile(path, append(data, "more"...), 0o600) },
	"junk": func(path string, _ []byte) error {
		return os.WriteFile(path, bytes.Repeat([]byte("\xff"), 5000), 0o600)
	},
	"a directory": func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	"a full directory": func(path string, _ []byte) error {
		return errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "x"), 0o700))
	},
	"a FIFO": func(path string, _ []byte) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
	"a dangling link": func(path string, _ []byte) error {
		return errors.Join(os.Remove(path), os.Symlink("/nowhere/at/all", path))
	},
	"endless": func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Symlink("/dev/zero", path)) },
}

// Whatever becomes of a file that this machine keeps, the next night is whole, or says which file to move away; and then it
// is whole.
func TestSpoiltLocalFiles(t *testing.T) {
	m := newMachine(t, storetest.NewMem(t))
	for _, file := range m.files() {
		name, err := filepath.Rel(m.dir, file)
		if err != nil {
			t.Fatal(err)
		}
		for how, spoil := range spoilings {
			t.Run(fmt.Sprintf("%s/%s", filepath.ToSlash(name), how), func(t *testing.T) {
				m := m.copyOf(t)
				path := filepath.Join(m.dir, name)
				data, err := os.ReadFile(path)
				if err == nil {
					err = spoil(path, data)
				}
				if err != nil {
					t.Fatal(err)
				}
				err = inTime(t, func() error { return m.night(repo.Options{}, 2) })
				if err == nil {
					return
				}
				text, spoilt := err.Error()+hint.Of(err), (*repo.StateFileError)(nil)
				if errors.As(err, &spoilt) {
					text += spoilt.Path
				} else if hint.Of(err) == "" && !errors.As(err, new(*cause.Error)) {
					t.Errorf("nobody can say what to do about it: %v", err)
				}
				if !strings.Contains(text, path) {
					t.Errorf("it does not name the file: %v; hint: %s", err, hint.Of(err))
				}
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := m.night(repo.Options{}, 3); err != nil {
					t.Errorf("without the file: %v", err)
				}
			})
		}
	}
}

// headOf returns the path of what a machine remembers of the log.
func (m *machine) headOf() string {
	found, err := filepath.Glob(filepath.Join(m.dir, "state", "*", "head"))
	if err != nil || len(found) != 1 {
		m.t.Fatal(found, err)
	}
	return found[0]
}

// A head that a power cut has spoilt: the log's cache stands for it. Where that is gone too, somebody must say that the log
// is to be taken as the storage has it.
func TestSpoiltHead(t *testing.T) {
	st := storetest.NewMem(t)
	w := newMachine(t, st)
	old := st.Clone() // before the second night
	if err := w.night(repo.Options{}, 2); err != nil {
		t.Fatal(err)
	}
	spoilt := func(t *testing.T) *machine {
		m := w.copyOf(t)
		if err := os.Truncate(m.headOf(), 0); err != nil {
			t.Fatal(err)
		}
		return m
	}
	t.Run("the cache is there", func(t *testing.T) {
		m := spoilt(t)
		if _, err := m.open(repo.Options{}); err != nil || !strings.Contains(strings.Join(m.notes, "\n"), m.headOf()) {
			t.Fatalf("%v; %q", err, m.notes)
		}
		m.notes = nil
		if _, err := m.open(repo.Options{}); err != nil || len(m.notes) > 0 {
			t.Errorf("the second time: %v; %q", err, m.notes)
		}
	})
	t.Run("the cache is there, and the storage rolled back", func(t *testing.T) {
		m := spoilt(t)
		m.store = old.CloneFor(t)
		var rolled *ledger.RollbackError
		for range 2 {
			if _, err := m.open(repo.Options{}); !errors.As(err, &rolled) {
				t.Fatalf("a storage that was rolled back: %v", err)
			}
		}
		if _, err := m.open(repo.Options{AcceptHead: true}); err != nil {
			t.Error(err)
		}
	})
	t.Run("no cache", func(t *testing.T) {
		m := spoilt(t)
		if err := os.RemoveAll(filepath.Join(m.dir, "cache")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := m.open(repo.Options{}); err == nil || !strings.Contains(err.Error(), m.headOf()) || causeOf(err) != cause.HeadUnread {
				t.Fatalf("%v; cause: %q", err, causeOf(err))
			}
		}
		if _, err := m.open(repo.Options{AcceptHead: true}); err != nil {
			t.Fatal(err)
		}
		if err := m.night(repo.Options{}, 3); err != nil {
			t.Errorf("after that: %v", err)
		}
	})
}

// A host whose state can't be kept reads, with a word, and makes no snapshot.
func TestNothingRemembered(t *testing.T) {
	m := newMachine(t, storetest.NewMem(t))
	m.dir = filepath.Join(m.dir, "file")
	if err := os.WriteFile(m.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := m.open(repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.notes) != 1 || !strings.Contains(m.notes[0], m.dir) {
		t.Errorf("it says %q", m.notes)
	}
	if _, err := upkeep.Check(t.Context(), r, mark, upkeep.CheckOptions{Read: &upkeep.Subset{Part: 1, Of: 1}}); err != nil || len(r.Snapshots()) != 1 {
		t.Errorf("check of %d snapshots: %v", len(r.Snapshots()), err)
	}
	if _, err := r.NewWriter(t.Context(), instance); err == nil || !strings.Contains(err.Error(), m.dir) {
		t.Errorf("a snapshot without a journal: %v", err)
	}
}

// Root works in the directories of another user as that user: all files stay his, and a link that he plants leads root to
// nothing that is not his.
func TestRootInAnothersDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root")
	}
	const other = 31415
	m := newMachine(t, storetest.NewMem(t))
	open := func(path string) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	open(filepath.Dir(m.dir))
	open(m.dir)
	for _, path := range append(m.files(), m.dir) {
		for ; path != filepath.Dir(m.dir); path = filepath.Dir(path) {
			if err := os.Lchown(path, other, other); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := m.night(repo.Options{}, 2); err != nil {
		t.Fatal(err)
	}
	for _, path := range m.files() {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Sys().(*syscall.Stat_t).Uid != other {
			t.Errorf("%s is not its directory's owner's", path)
		}
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range m.files() {
		if err := os.Remove(file); errors.Is(err, fs.ErrNotExist) {
			continue // a prune has removed it meanwhile
		}
		if err := errors.Join(os.Symlink(secret, file), os.Lchown(file, other, other)); err != nil {
			t.Fatal(err)
		}
		err := inTime(t, func() error { return m.night(repo.Options{AcceptHead: true}, 3) })
		if data, rerr := os.ReadFile(secret); rerr != nil || string(data) != "root's" {
			t.Fatalf("%s: root's file holds %q, %v", file, data, rerr)
		}
		if info, err := os.Stat(secret); err != nil || info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Fatalf("%s: root's file is %v, %v", file, info.Mode(), err)
		}
		t.Logf("%s: %v", file, err)
		os.Remove(file)
	}
}
