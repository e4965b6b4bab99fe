package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"permafrost/repo/keys"
	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// The storage puts a keyring of its own in the place of one.
func (v *victim) testForgedKeyring() {
	v = v.at(v.copyOf())
	f := v.forger(v.recovery)
	forged, err := keys.NewOwner()
	if err != nil {
		v.t.Fatal(err)
	}
	forged.Repository, forged.Epochs = f.key.Repository, nil
	e, err := forged.NewEpoch()
	if err == nil {
		err = forged.AddEpoch(e)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	to, _, _, err := keys.ParseRecipient(v.admin, keys.Prompt{})
	if err != nil {
		v.t.Fatal(err)
	}
	data, err := keys.Wrap(forged, to)
	if err != nil {
		v.t.Fatal(err)
	}
	m := v.machine("second.age")
	m.run(exitDone, "snapshots", "-i", "second.age", "--fingerprint", f.key.Fingerprint())
	keys := filepath.Join(v.place(), "keys")
	if err := os.RemoveAll(keys); err != nil {
		v.t.Fatal(err)
	}
	name := f.put("keys/", data)
	if err := os.Rename(filepath.Join(keys, name.String()), filepath.Join(keys, name.String()+".age")); err != nil {
		v.t.Fatal(err)
	}
	for _, args := range [][]string{{"snapshots"}, {"check"}, {"snapshot"}, {"key", "rotate"}} {
		m.recovery = filepath.Join(m.home, "second.age")
		told(v.t, m.run(exitWrongKey, append(args, "-i", "second.age", "--writer-key", "none")...), "other keys than before")
	}
	told(v.t, v.machine("second.age").run(exitWrongKey, "snapshots", "-i", "second.age"), "--fingerprint")
	host := v.on(v.t)
	host.witness = v.hostCopy()
	host.run(exitDated, "snapshot", "--date", "2026-06-30")
	v.fresh().run(exitDone, "restore", "-i", "recovery.key", "--date", "2026-06-30", "--target", "out")
	if r := v.fresh().run(exitDamage, "check", "-i", "recovery.key"); !strings.Contains(r.stdout, "keyring of \"second\"") {
		v.t.Errorf("check does not tell of the keyring that is gone:\n%s", r.stdout)
	}
}

// A pack of wrong bytes, encrypted to the right recipient and named rightly, is listed by an index object of somebody who
// does not speak for the instance: what the host then finds at its source is stored all the same.
func (v *victim) testForgedIndex() {
	second := v.kinds[slices.IndexFunc(v.kinds, func(o victimObject) bool { return o.kind == "index" })].object
	for name, file := range map[string]string{"of another instance": "evil.key", "of one removed since": "gone.key", "of a stranger": ""} {
		v.t.Run(name, func(t *testing.T) {
			body := v.on(t).forger(v.recovery).body(second)
			v := v.on(t).at(v.on(t).at(v.early).copyOf()).forgetful()
			f := v.forger(v.recovery)
			if file != "" {
				f = v.forger(filepath.Join(v.home, file))
			} else {
				stranger, err := f.key.NewWriter("stranger")
				if err != nil {
					t.Fatal(err)
				}
				f.key = stranger
			}
			index := f.put("index/", f.seal("PFINDEX\x01", f.forgePacks(body, v.nightPacks())))
			info := ledger.SnapshotInfo{Instance: v.snapshots(t)[0].Instance, Date: "2026-06-27"}
			if file == "evil.key" {
				info.Instance = "evil.example"
			}
			manifest := f.put("manifests/", f.seal("PFMANIF\x01", []byte("nothing")))
			e := &ledger.SnapshotEntry{Manifest: manifest, Indexes: []store.Name{index}, SnapshotInfo: info}
			f.publish(&ledger.Entry{Snapshot: e})
			if file != "" { // or every restore would have to name the instance, and no prune could read it
				v.run(exitDone, "forget", f.snapshotID(e)[:16], "-i", v.recovery)
			}
			if file == "gone.key" {
				v.run(exitDone, "key", "remove", "gone", "-i", v.recovery)
			}
			v.addMedia("later.jpg", 1<<20)
			m := v.machine("writer.key")
			m.run(exitDated, "snapshot", "--date", "2026-06-30")
			dir := filepath.Join(t.TempDir(), "next")
			v.fresh().run(exitDone, "restore", "-i", "recovery.key", "--date", "2026-06-30", "--target", dir)
			if got := digest(t, filepath.Join(dir, "public-system")); got != digest(t, v.root) {
				t.Errorf("the snapshot is not what its source was:\n%s", got)
			}
			v.pruneLosesNothing(false)
		})
	}
}

// nightPacks returns the packs of the whole repository, by name.
func (v *victim) nightPacks() map[string]int {
	sizes := make(map[string]int)
	for _, n := range v.kinds {
		if strings.HasSuffix(n.kind, " pack") {
			sizes[filepath.Base(n.object)] = 0
		}
	}
	return sizes
}

// forgePacks returns an index object's body that lists packs of wrong bytes in place of those named.
func (f *forger) forgePacks(body []byte, names map[string]int) []byte {
	f.t.Helper()
	forged := 0
	for text := range names {
		name, err := store.ParseName(text)
		if err != nil {
			f.t.Fatal(err)
		}
		at := bytes.Index(body, name[:])
		if at < 0 {
			continue
		}
		size, n := 0, 0
		for shift := 0; ; shift += 7 { // the varint behind the name
			b := body[at+len(name)+n]
			size |= int(b&0x7f) << shift
			if n++; b < 0x80 {
				break
			}
		}
		to := marked{f.key.CurrentEpoch().DataRecipient, string(body[1 : 1+body[0]])}
		empty := len(f.encrypt(nil, to))
		plain := size - empty - (size-empty)/(64<<10+16)*16
		data := f.encrypt(append([]byte("PFPACK\x00\x01"), make([]byte, plain-8)...), to)
		if len(data) != size {
			f.t.Fatalf("a forged pack has %d bytes for %d", len(data), size)
		}
		wrong := f.put("tmp-", data)
		f.write("packs/"+wrong.String()[:2]+"/"+wrong.String(), data)
		os.Remove(filepath.Join(f.dir, "tmp-"+wrong.String()))
		copy(body[at:], wrong[:])
		forged++
	}
	if forged == 0 {
		f.t.Fatal("no pack is forged")
	}
	return body
}

// What a host keeps for itself is damaged, cut, or that of another night: it is not believed.
func (v *victim) testLocalFiles() {
	for name, spoil := range map[string]func(data []byte) []byte{
		"flipped": wounds["flipped"],
		"cut":     wounds["cut"],
		"stale":   nil,
	} {
		v.t.Run(name, func(t *testing.T) {
			v := v.on(t).at(v.on(t).copyOf())
			m := v.hostCopy()
			cache := filepath.Join(m.home, "cache")
			if spoil == nil {
				if err := errors.Join(os.RemoveAll(cache), os.CopyFS(cache, os.DirFS(v.cached))); err != nil {
					t.Fatal(err)
				}
			} else if n := spoilFiles(t, cache, spoil); n < 3 {
				t.Fatalf("%d files are cached", n)
			}
			v.addMedia("more.jpg", 1<<20)
			m.run(exitDated, "snapshot", "--date", "2026-06-30")
			m.run(exitDone, "check", "--read-data")
			dir := filepath.Join(t.TempDir(), "next")
			v.fresh().run(exitDone, "restore", "-i", "recovery.key", "--date", "2026-06-30", "--target", dir)
			if got := digest(t, filepath.Join(dir, "public-system")); got != digest(t, v.root) {
				t.Errorf("the snapshot is not what its source was:\n%s", got)
			}
			v.fresh().run(exitDone, "check", "--read-data", "-i", "recovery.key")
		})
	}
}

// spoilFiles changes every file below dir and returns how many there are.
func spoilFiles(t *testing.T, dir string, spoil func([]byte) []byte) (n int) {
	t.Helper()
	for name := range objects(t, dir) {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err == nil && len(data) > 0 {
			n++
			err = os.WriteFile(path, spoil(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// What a writer asks for that may not forget is shown, and not done.
func (v *victim) testRequest() {
	v = v.at(v.copyOf())
	first := v.snapshots(v.t)[0]
	id, err := store.ParseName(first.ID)
	if err != nil {
		v.t.Fatal(err)
	}
	v.forger(filepath.Join(v.home, "meek.key")).publish(&ledger.Entry{Forget: &ledger.ForgetEntry{Snapshots: []store.Name{id}}})
	for _, args := range [][]string{{"check"}, {"snapshots"}} {
		m := v.machine("writer.key")
		if r := m.run(exitDone, args...); !strings.Contains(r.stderr, "by meek has no effect: the list of keys does not let this writer forget") {
			v.t.Errorf("%v does not show the request:\n%s%s", args, r.stdout, r.stderr)
		}
	}
	if left := v.snapshots(v.t); len(left) != 3 || left[0].ID != first.ID {
		v.t.Errorf("left are %+v", left)
	}
	v.pruneLosesNothing(true)
}
