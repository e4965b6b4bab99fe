package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"permafrost/repo/ledger"
	"permafrost/repo/store"
)

// A writer of evil.example lists the packs of this repository's other instance for its own, and publishes manifests of
// what is in them. Nobody gets anything of that instance by it, whichever way he asks; a check names it, and a repair of
// the index takes it off.
func (v *victim) testStolen() {
	for name, change := range map[string]func(f *forger, text []byte) []byte{
		"its own manifest": func(f *forger, text []byte) []byte {
			was := []byte(`"instance":"` + v.snapshots(v.t)[0].Instance + `"`)
			if !bytes.Contains(text, was) {
				v.t.Fatalf("no %s in %.200s", was, text)
			}
			return f.seal("PFMANIF\x01", zip(bytes.Replace(text, was, []byte(`"instance":"evil.example"`), 1)))
		},
		"a manifest of the other instance": func(f *forger, text []byte) []byte { return f.seal("PFMANIF\x01", zip(text)) },
		"the other instance's manifest": func(f *forger, text []byte) []byte {
			host := v.forger(filepath.Join(v.home, "writer.key"))
			return host.seal("PFMANIF\x01", zip(text))
		},
	} {
		v.t.Run(name, func(t *testing.T) {
			v := v.on(t)
			v = v.at(v.copyOf())
			f := v.forger(filepath.Join(v.home, "evil.key"))
			manifest := f.put("manifests/", change(f, unzip(t, f.body("manifests/"+v.snapshots(t)[0].Manifest))))
			e := &ledger.SnapshotEntry{Manifest: manifest, Indexes: f.stealIndexes(), SnapshotInfo: ledger.SnapshotInfo{Instance: "evil.example", Date: "2026-06-26"}}
			f.publish(&ledger.Entry{Snapshot: e})
			v.nothingStolen()
			m := v.machine("recovery.key")
			m.command("repair", "index", "-i", "recovery.key").run(t)
			m.run(exitDone, "forget", f.snapshotID(e)[:16], "-i", "recovery.key")
			v.pruneLosesNothing(true)
			m.run(exitDone, "check", "--read-data", "-i", "recovery.key")
		})
	}
}

// stealIndexes lists everything for evil.example that is listed, in index objects of its own.
func (f *forger) stealIndexes() (stolen []store.Name) {
	f.t.Helper()
	files, err := os.ReadDir(filepath.Join(f.dir, "index"))
	if err != nil || len(files) == 0 {
		f.t.Fatal(len(files), err)
	}
	for _, file := range files {
		body := f.body("index/" + file.Name())
		packs := body[1+int(body[0]):] // behind the instance's name and its length
		body = append([]byte("\x0cevil.example"), packs...)
		stolen = append(stolen, f.put("index/", f.seal("PFINDEX\x01", body)))
	}
	return stolen
}

// nothingStolen asserts that neither the owner nor the thief gets anything of the snapshot of evil.example.
func (v *victim) nothingStolen() {
	v.t.Helper()
	known := make(map[string]bool)
	for _, night := range v.nights {
		for line := range strings.Lines(night) {
			sum, _, _ := strings.Cut(line, " ")
			known[sum] = true
		}
	}
	m := v.machine("recovery.key")
	dir := filepath.Join(v.t.TempDir(), "stolen")
	r := m.command("restore", "-i", "recovery.key", "--instance", "evil.example", "--date", "2026-06-26", "--target", dir).run(v.t)
	if r.code != exitDamage && r.code != exitFailed {
		v.t.Errorf("restore ends with %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
	if _, err := os.Stat(dir); err == nil {
		for name, sum := range objects(v.t, dir) {
			if known[sum] {
				v.t.Errorf("%s is the other instance's", name)
			}
		}
	}
	for _, part := range []string{"postgres", "redis", "media/one.jpg"} {
		r := m.command("dump", "-i", "recovery.key", "--instance", "evil.example", "2026-06-26", part).run(v.t)
		if r.code == exitDone || len(r.stdout) > 0 {
			v.t.Errorf("dump of %s gives %d bytes, exit code %d:\n%s", part, len(r.stdout), r.code, r.stderr)
		}
	}
	for _, key := range []string{"recovery.key", "evil.key"} {
		m := v.machine(key)
		if r := m.command("ls", "-i", key, "--instance", "evil.example", "2026-06-26").run(v.t); strings.Contains(r.stdout, "one.jpg") {
			v.t.Errorf("ls with %s shows the other instance's files:\n%s", key, r.stdout)
		}
	}
	r = m.command("check", "-i", "recovery.key").run(v.t)
	if r.code != exitDamage || !strings.Contains(r.stderr+r.stdout, `the pack was written for another instance`) {
		v.t.Errorf("check ends with %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}

func zip(text []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(text, nil)
}

func unzip(t *testing.T, data []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := r.DecodeAll(data, nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
