package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"permafrost/internal/sandbox"
)

var everyWound = flag.Bool("hostile", false, "TestHostileStorage tries every wound of every kind of object, and not some of them")

// A victim is a small repository of four nights, the third of which is forgotten, and what a restore of them gives.
type victim struct {
	*witness
	early  string            // the server's directory as it was after the first night
	cached string            // the host's cache as it was then
	head   string            // of the log
	nights map[string]string // by date and file, hashes of what is restored
	kinds  []victimObject
	admin  string // recipient of an owner with a key of its own
	first  string // of testUnmounted: the snapshot that all others came after
}

// A victimObject is an object that the second night needs, or the last one for "log end", and another of its kind.
type victimObject struct{ kind, object, other string }

// Whatever a storage does to an object: it is noticed where it matters and named, nothing wrong is ever given back, nothing
// that is left is lost by a prune, and what is committed next comes back.
func TestHostileStorage(t *testing.T) {
	t.Parallel()
	s := newSite(t, sandbox.Config{})
	s.init()
	v := newVictim(t, s)
	cases := 0
	for i, o := range v.kinds {
		for j, wound := range storageWounds {
			if !*everyWound && ((i+j)%len(storageWounds) != 0 || i%3 != 1) { // the rest is TestHostileObjects' by default
				continue
			}
			cases++
			t.Run(o.kind+" "+wound, func(t *testing.T) { v.on(t).testWound(o, wound) })
		}
	}
	for _, test := range []struct {
		name string
		run  func(*victim)
	}{
		{"rolled back", (*victim).testRolledBack},
		{"forged keyring", (*victim).testForgedKeyring},
		{"forged index", (*victim).testForgedIndex},
		{"local files", (*victim).testLocalFiles},
		{"request", (*victim).testRequest},
		{"poison", (*victim).testPoison},
		{"unmounted", (*victim).testUnmounted},
		{"stolen", (*victim).testStolen},
	} {
		cases++
		t.Run(test.name, func(t *testing.T) { test.run(v.on(t)) })
	}
	t.Logf("%d cases", cases)
}

func (v *victim) on(t *testing.T) *victim {
	c := *v
	c.witness = v.witness.on(t)
	return &c
}

func newVictim(t *testing.T, s *site) *victim {
	t.Helper()
	v := &victim{witness: (&witness{site: s.on(t)}).small("hostile"), nights: make(map[string]string)}
	first := v.objects()
	for _, args := range [][]string{
		{"--name", "evil", "--instance", "evil.example", "--key-file", "evil.key"},
		{"--name", "gone", "--key-file", "gone.key"},
		{"--name", "meek", "--no-forget", "--key-file", "meek.key"},
	} {
		v.run(exitDone, append([]string{"key", "add", "writer", "-i", v.recovery}, args...)...)
	}
	v.admin = (&desk{t, v.home}).newIdentity("second.age")
	v.run(exitDone, "key", "add", "owner", v.admin, "--name", "second", "-i", v.recovery)
	v.early, v.cached = v.copyOf(), filepath.Join(t.TempDir(), "cache")
	if err := os.CopyFS(v.cached, os.DirFS(filepath.Join(v.home, "cache"))); err != nil {
		t.Fatal(err)
	}
	before := v.objects()
	v.addMedia("later.jpg", 1<<20)
	v.run(exitDated, "snapshot", "--date", "2026-06-27")
	second := slices.DeleteFunc(v.objects(), func(n string) bool { return slices.Contains(before, n) })
	os.Remove(filepath.Join(v.root, "later.jpg"))
	v.run(exitDated, "snapshot", "--date", "2026-06-28")
	v.run(exitDone, "forget", "latest")
	v.run(exitDated, "snapshot", "--date", "2026-06-29")
	v.head = strings.TrimSpace(v.run(exitDone, "snapshots", "--head").stdout)
	for _, date := range []string{"2026-06-26", "2026-06-27", "2026-06-29"} {
		dir := filepath.Join(t.TempDir(), date)
		v.run(exitDone, "restore", "-i", v.recovery, "--date", date, "--target", dir)
		v.nights[date] = digest(t, dir)
	}
	v.choose(first, second)
	return v
}

// digest returns what a restore gave, but for its own notes and the plan, which are none of the content.
func digest(t *testing.T, dir string) string {
	t.Helper()
	all := objects(t, dir)
	maps.DeleteFunc(all, func(name, _ string) bool {
		return name == "RESTORE.md" || name == "restore.sh" || name == ".permafrost-restore" || strings.HasPrefix(name, "plan/")
	})
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s %s\n", all[name], name)
	}
	return b.String()
}

// choose finds an object of each kind among those of the second night, and another among those of the first.
func (v *victim) choose(first, second []string) {
	v.t.Helper()
	f := v.forger(v.recovery)
	isMeta := func(object string) bool {
		data, err := os.ReadFile(filepath.Join(v.place(), object))
		if err == nil {
			_, err = age.Decrypt(bytes.NewReader(data), f.key.MetaIdentities()...)
		}
		return err == nil
	}
	find := func(names []string, prefix string, match func(string) bool) string {
		for _, n := range names {
			if strings.HasPrefix(n, prefix) && (match == nil || match(n)) {
				return n
			}
		}
		v.t.Fatalf("no object of %s in %v", prefix, names)
		return ""
	}
	isData := func(n string) bool { return !isMeta(n) }
	lease := "leases/" + strings.Repeat("ab", 16)
	f.write(lease, f.seal("PFLEASE\x01", []byte(`{"what":"check","host":"gone","pid":1,"started":"2026-06-26T00:00:00Z"}`)))
	f.write(lease[:len(lease)-1]+"c", f.seal("PFLEASE\x01", []byte(`{"what":"prune","host":"gone","pid":2,"started":"2026-06-26T00:00:00Z"}`)))
	all := v.objects()
	logs := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return !strings.HasPrefix(n, "log/") })
	keys := slices.DeleteFunc(slices.Clone(all), func(n string) bool { return !strings.HasPrefix(n, "keys/") })
	v.kinds = []victimObject{
		{"config", "config", ""},
		{"keys", keys[0], keys[1]},
		{"data pack", find(second, "packs/", isData), find(first, "packs/", isData)},
		{"meta pack", find(second, "packs/", isMeta), find(first, "packs/", isMeta)},
		{"index", find(second, "index/", nil), find(first, "index/", nil)},
		{"manifest", find(second, "manifests/", nil), find(first, "manifests/", nil)},
		{"log", find(second, "log/", nil), logs[1]},
		{"log end", logs[len(logs)-1], logs[len(logs)-2]},
		{"lease", lease, lease[:len(lease)-1] + "c"},
	}
}

// copyOf copies the repository on the server, object by object.
func (v *witness) copyOf() string {
	v.t.Helper()
	dir, err := os.MkdirTemp(v.SSHD.Root, "copy-")
	if err == nil {
		err = os.CopyFS(dir, os.DirFS(v.place()))
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return dir
}

// at returns the victim with its repository in another directory, and a memory of its own.
func (v *victim) at(dir string) *victim {
	v.t.Helper()
	c := v.on(v.t)
	c.witness = v.hostCopy()
	for _, name := range []string{"recovery.key", "evil.key", "gone.key", "meek.key", "second.age"} {
		if err := os.Link(filepath.Join(v.home, name), filepath.Join(c.home, name)); err != nil {
			v.t.Fatal(err)
		}
	}
	c.repo = "sftp:backup.example:" + dir
	c.ageLeases()
	return c
}

// forgetful returns the victim without what it remembers.
func (v *victim) forgetful() *victim {
	v.t.Helper()
	for _, dir := range []string{"state", "cache"} {
		if err := os.RemoveAll(filepath.Join(v.home, dir)); err != nil {
			v.t.Fatal(err)
		}
	}
	return v
}

var storageWounds = []string{"flipped", "cut", "extended", "swapped", "copied", "removed"}

// wound does to an object what a storage may do.
func (v *victim) wound(o victimObject, how string) {
	v.t.Helper()
	path := filepath.Join(v.place(), o.object)
	data, err := os.ReadFile(path)
	if err != nil {
		v.t.Fatal(err)
	}
	switch how {
	case "flipped":
		data[len(data)/2] ^= 0x10
	case "cut":
		data = data[:len(data)-len(data)/3-1]
	case "extended":
		data = append(data, "more"...)
	case "swapped":
		if o.other == "" { // a repository has one config
			data = bytes.Replace(data, []byte(`"id":"`), []byte(`"id":"0f`), 1)
			data = append(data[:len(data)-5], "\"}\n"...)
		} else if data, err = os.ReadFile(filepath.Join(v.place(), o.other)); err != nil {
			v.t.Fatal(err)
		}
	case "copied":
		path = filepath.Join(v.place(), o.copyName())
	}
	os.Remove(filepath.Join(v.place(), o.object))
	if how == "copied" {
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(filepath.Join(v.place(), o.object), data, 0o600))
	}
	if how != "removed" {
		err = errors.Join(err, os.WriteFile(path, data, 0o600))
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// ageLeases makes the leases so old that nobody waits for those who put them.
func (v *victim) ageLeases() {
	v.t.Helper()
	leases, err := filepath.Glob(filepath.Join(v.place(), "leases", "*"))
	old := time.Now().Add(-time.Hour)
	for _, path := range leases {
		err = errors.Join(err, os.Chtimes(path, old, old))
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// copyName is where a copy of an object is put: under a later number, or a name that could be another's.
func (o *victimObject) copyName() string {
	last := strings.Repeat("cd", 32)
	switch dir, _, _ := strings.Cut(o.object, "/"); dir {
	case "packs":
		return "packs/cd/" + last
	case "keys":
		return "keys/" + last + ".age"
	case "log":
		return "log/0000000077"
	case "leases":
		return "leases/" + last[:32]
	case "config":
		return "config.old"
	default:
		return dir + "/" + last
	}
}

// testWound tries what everybody does with a repository of which one object is not what it was.
func (v *victim) testWound(o victimObject, how string) {
	v = v.at(v.copyOf())
	v.wound(o, how)
	v.ageLeases()
	host := v.on(v.t)
	host.witness = v.hostCopy()
	noticed, named := exitDamage, o.object
	switch {
	case o.kind == "lease", how == "copied" && !strings.HasPrefix(o.kind, "log"):
		noticed, named = exitDone, ""
	case how == "copied":
		named = o.copyName()
	case o.kind == "config" && how == "removed":
		noticed, named = exitNoRepository, ""
	case o.kind == "config" && how == "swapped":
		noticed, named = exitWrongKey, ""
	case o.kind == "log end" && how == "removed": // only who remembers can tell
		noticed, named = exitDone, ""
		told(v.t, v.fresh().run(exitDamage, "check", "-i", "recovery.key", "--head", v.head), "rolled back")
		told(v.t, host.run(exitDamage, "check"), "rolled back")
	}
	r := v.fresh().run(noticed, "check", "--read-data", "-i", "recovery.key")
	if !strings.Contains(r.stdout+r.stderr, named) {
		v.t.Errorf("check does not name %s:\n%s%s", named, r.stdout, r.stderr)
	}
	if o.kind == "config" && how != "copied" {
		v.refused(host)
		return
	}
	whole := v.rightOrNothing("2026-06-27")
	v.pruneLosesNothing(whole)
	if r := host.command("snapshot", "--date", "2026-06-30").run(v.t); r.code != exitDated {
		if !strings.Contains(r.stderr, "permafrost: error: ") {
			v.t.Errorf("the next snapshot: exit code %d\n%s", r.code, r.stderr)
		}
	} else {
		if o.kind == "index" && how != "removed" {
			// The host knows still what the index object said, and the storage shows one of that name.
			v.fresh().run(exitDone, "repair", "index", "-i", "recovery.key")
		}
		dir := filepath.Join(v.t.TempDir(), "next")
		v.fresh().run(exitDone, "restore", "-i", "recovery.key", "--date", "2026-06-30", "--target", dir)
		if got := digest(v.t, filepath.Join(dir, "public-system")); got != digest(v.t, v.root) {
			v.t.Errorf("the next snapshot is not what its source was:\n%s", got)
		}
	}
	v.pruneLosesNothing(whole)
}

// fresh returns a machine with the recovery file and no memory.
func (v *victim) fresh() *witness { return v.machine("recovery.key") }

// refused asserts that nothing is done with a repository.
func (v *victim) refused(host *victim) {
	v.t.Helper()
	for _, args := range [][]string{{"snapshot"}, {"snapshots"}, {"prune"}, {"restore", "--date", "2026-06-27", "--target", "x", "-i", v.recovery}} {
		r := host.command(args...).run(v.t)
		if r.code != exitDamage && r.code != exitWrongKey && r.code != exitNoRepository {
			v.t.Errorf("%v: exit code %d", args, r.code)
		}
		told(v.t, r)
	}
}

// rightOrNothing restores a night: it fails and says why, or gives what was stored.
func (v *victim) rightOrNothing(date string) (whole bool) {
	v.t.Helper()
	dir := filepath.Join(v.t.TempDir(), "right")
	r := v.fresh().command("restore", "-i", "recovery.key", "--date", date, "--target", dir).run(v.t)
	switch {
	case r.code == exitDone && digest(v.t, dir) != v.nights[date]:
		v.t.Errorf("restore of %s gives something else:\n%s", date, digest(v.t, dir))
	case r.code != exitDone && (r.code != exitDamage && r.code != exitFailed || !strings.Contains(r.stderr, "permafrost: error: ")):
		v.t.Errorf("restore of %s: exit code %d\n%s", date, r.code, r.stderr)
	}
	return r.code == exitDone
}

// pruneLosesNothing prunes with the owner key; what could be restored before can be restored still.
func (v *victim) pruneLosesNothing(whole bool) {
	v.t.Helper()
	r := v.fresh().command("prune", "-i", "recovery.key", "--max-unused", "0").run(v.t)
	if r.code != exitDone && r.code != exitDamage {
		v.t.Errorf("prune: exit code %d\n%s", r.code, r.stderr)
	}
	if v.rightOrNothing("2026-06-27") != whole && whole {
		v.t.Error("a night that was whole is damaged after a prune")
	}
	v.fresh().intact()
}

// The whole repository is what it was some nights ago.
func (v *victim) testRolledBack() {
	host := v.at(v.early)
	for _, args := range [][]string{{"snapshot"}, {"snapshots"}, {"check"}, {"prune"}, {"forget", "latest"}} {
		told(v.t, host.run(exitDamage, args...), "rolled back", "--accept-head")
	}
	f := v.at(v.early).fresh()
	told(v.t, f.run(exitDamage, "check", "-i", "recovery.key", "--head", v.head), "rolled back")
	f.intact() // what is there is what was stored
}
