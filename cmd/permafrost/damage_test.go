package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Each kind of object that is cut or changed on the server is found and named, and the snapshots that do not need it
// come back.
func (w *witness) testDamaged(t *testing.T) {
	w = w.small("damage")
	before := w.objects()
	w.addMedia("later.jpg", 1<<20)
	w.run(exitDated, "snapshot", "--date", "2026-06-29")
	after := w.objects()
	os.Remove(filepath.Join(w.root, "later.jpg"))
	w.run(exitDated, "snapshot", "--date", "2026-06-30") // so that the log goes on
	mine := make(map[string]string)                      // of the snapshot of the 29th
	for _, name := range after {
		if kind, _, _ := strings.Cut(name, "/"); !slices.Contains(before, name) && len(mine[kind]) == 0 {
			mine[kind] = name
		}
	}
	for _, kind := range []string{"packs", "index", "manifests", "log"} {
		if mine[kind] == "" {
			t.Fatalf("no object of %s is new: %v", kind, mine)
		}
		t.Run(kind, func(t *testing.T) { w.on(t).testDamagedObject(mine[kind]) })
	}
	t.Run("last log entry", func(t *testing.T) {
		last := ""
		for _, name := range w.objects() {
			if strings.HasPrefix(name, "log/") {
				last = max(last, name)
			}
		}
		w.on(t).testDamagedObject(last)
	})
	t.Run("config", func(t *testing.T) { w.on(t).testDamagedConfig() })
	t.Run("keys", func(t *testing.T) { w.on(t).testDamagedKey() })
	w.intact()
}

// small returns a machine with a small repository of its own, of an instance with few media.
func (w *witness) small(name string) *witness {
	w.t.Helper()
	live := w.live(nil)
	m := w.machine()
	m.repo += "-" + name
	m.root = filepath.Join(live, "public", "system")
	if err := errors.Join(os.Remove(filepath.Join(live, "public")), os.MkdirAll(m.root, 0o755),
		os.WriteFile(filepath.Join(m.root, "one.jpg"), []byte("one"), 0o644),
		os.WriteFile(filepath.Join(m.home, "permafrost.toml"), []byte("live = \""+live+"\"\n"), 0o600)); err != nil {
		w.t.Fatal(err)
	}
	recipient := (&desk{w.t, m.home}).newIdentity("admin.age")
	m.run(exitDone, "init", "--recovery-key", m.recovery, "--owner", recipient)
	m.run(exitDated, "snapshot", "--date", "2026-06-26")
	return newWitness(w.t, m.site, m.root)
}

// objects lists what is in the repository.
func (w *witness) objects() (names []string) {
	w.t.Helper()
	err := fs.WalkDir(os.DirFS(w.place()), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// wounds are what befalls an object: nil removes it.
var wounds = map[string]func(data []byte) []byte{
	"flipped": func(data []byte) []byte {
		data[len(data)/2] ^= 0x10
		return data
	},
	"cut": func(data []byte) []byte { return data[:len(data)/2] },
}

// wounded returns a copy of the repository with one object that is not what it was.
func (w *witness) wounded(object string, wound func([]byte) []byte) *witness {
	w.t.Helper()
	c := w.on(w.t)
	dir, err := os.MkdirTemp(w.SSHD.Root, "wounded-")
	if err != nil {
		w.t.Fatal(err)
	}
	c.repo = "sftp:backup.example:" + dir
	for _, name := range w.objects() { // links: no object is ever written again
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Link(filepath.Join(w.place(), name), filepath.Join(dir, name)); err != nil {
			w.t.Fatal(err)
		}
	}
	path := filepath.Join(dir, object)
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if data = wound(data); data != nil && err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// hostCopy returns a machine that knows the repository as well as the host does: what is cached must hide nothing.
func (w *witness) hostCopy(files ...string) *witness {
	w.t.Helper()
	m := w.machine(append(files, "writer.key")...)
	for _, dir := range []string{"state", "cache"} {
		if err := os.CopyFS(filepath.Join(m.home, dir), os.DirFS(filepath.Join(w.home, dir))); err != nil {
			w.t.Fatal(err)
		}
	}
	return m
}

// entryNumber returns the number of a log entry, and what is no log entry as it is.
func entryNumber(object string) string {
	if number, ok := strings.CutPrefix(object, "log/"); ok {
		return strings.TrimLeft(number, "0")
	}
	return object
}

func (w *witness) testDamagedObject(object string) {
	for name, wound := range wounds {
		w.t.Run(name, func(t *testing.T) {
			w := w.on(t).wounded(object, wound)
			w.machine("recovery.key").intact()
			if r := w.machine("recovery.key").run(exitDamage, "check", "--read-data", "-i", "recovery.key"); !strings.Contains(r.stdout, object) {
				t.Errorf("check does not name %s:\n%s%s", object, r.stdout, r.stderr)
			}
			if r := w.hostCopy().run(exitDamage, "check", "--read-data"); !strings.Contains(r.stdout+r.stderr, entryNumber(object)) {
				t.Errorf("the host's check does not name %s:\n%s%s", object, r.stdout, r.stderr)
			}
			if strings.HasPrefix(object, "log/") {
				return // what no valid entry names is not known to be missing
			}
			r := w.machine("recovery.key").run(exitDamage, "restore", "-i", "recovery.key", "--date", "2026-06-29", "--target", "out")
			if !strings.Contains(r.stderr, "damage") {
				t.Errorf("restore says\n%s", r.stderr)
			}
		})
	}
}

// Without a config that it understands nothing is done. One whose ID has changed belongs to another repository.
func (w *witness) testDamagedConfig() {
	for name, wound := range wounds {
		w.t.Run(name, func(t *testing.T) {
			w := w.on(t).wounded("config", wound)
			for _, args := range [][]string{{"snapshot"}, {"snapshots"}, {"check", "-i", w.recovery}} {
				r := w.command(args...).run(t)
				if r.code != exitDamage && r.code != exitWrongKey {
					t.Errorf("%v: code %d", args, r.code)
				}
				if told(t, r); r.code == exitDamage && !strings.Contains(r.stderr, "config") {
					t.Errorf("%v: %s", args, r.stderr)
				}
			}
		})
	}
}

// A damaged keyring keeps out the one whom it was for.
func (w *witness) testDamagedKey() {
	i := slices.IndexFunc(w.objects(), func(name string) bool { return strings.HasPrefix(name, "keys/") })
	object := w.objects()[i]
	for name, wound := range wounds {
		w.t.Run(name, func(t *testing.T) {
			w := w.on(t).wounded(object, wound)
			m := w.machine("admin.age")
			r := m.command("snapshots", "-i", "admin.age").run(t)
			if r.code != exitDamage && r.code != exitWrongKey {
				t.Errorf("code %d", r.code)
			}
			told(t, r)
			w.machine("writer.key").run(exitDone, "snapshots")
			w.machine("recovery.key").intact()
		})
	}
}
