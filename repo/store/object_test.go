package store

import (
	"strings"
	"testing"
)

func TestCheckPath(t *testing.T) {
	for _, name := range []string{"a", "config", "packs/ab/ab12", "log/0000000042", "a.b_c-d", "x..y", "0/-/_", strings.Repeat("a", 255)} {
		if err := CheckPath(name); err != nil {
			t.Error(err)
		}
		if err := CheckPrefix(name + "/"); err != nil {
			t.Error(err)
		}
		if err := CheckPrefix(name); err == nil {
			t.Errorf("prefix %q passes", name)
		}
	}
	bad := []string{"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", ".a", "a/.b", "A", "ä", "a b", "aBc",
		"a\\b", "a\x00b", "a\nb", "~", "a:b", "*", strings.Repeat("a", 256)}
	for _, name := range bad {
		if err := CheckPath(name); err == nil {
			t.Errorf("name %q passes", name)
		}
		if err := CheckPrefix(name + "/"); err == nil {
			t.Errorf("prefix %q passes", name+"/")
		}
	}
	if err := CheckPrefix(""); err != nil {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	name, err := ParseName(hash)
	if err != nil {
		t.Fatal(err)
	}
	for object, want := range map[string]Kind{"config": Config, "reserve": Reserve, "log/0000000042": Log, "leases/" + hash[:32]: Lease,
		"index/" + hash: Index, "manifests/" + hash: Manifest, "keys/" + hash + ".age": Key, "packs/ab/" + hash: Pack} {
		kind, got := Parse(object)
		if kind != want || !got.IsZero() && got != name {
			t.Errorf("%s is of kind %d and has the hash %v", object, kind, got)
		}
		if got.IsZero() {
			continue
		}
		if back := kind.Object(got); back != object {
			t.Errorf("%s becomes %s", object, back)
		}
		if !strings.HasPrefix(object, kind.Dir()) {
			t.Errorf("%s does not lie in %s", object, kind.Dir())
		}
	}
	for _, object := range []string{"", "log", "log/00", "log/000000004a", "log/00000000042", "log/0000000042/x", "config/x", "other", "index/" + hash[1:],
		"index/" + hash + "0", "index/ab/" + hash, "keys/" + hash, "keys/.age", "packs/" + hash, "packs/00/" + hash, "packs/00/hard", "packs/ab/x/" + hash,
		"leases/11", "leases/x/" + hash[:32], "tmp/x", "index/" + strings.ToUpper(hash), "manifests/" + hash + ".age", "config/", "/config", "reserve/"} {
		if kind, got := Parse(object); kind != None || !got.IsZero() {
			t.Errorf("%q has the form of kind %d", object, kind)
		}
	}
}

func TestParseLog(t *testing.T) {
	for _, want := range []uint64{0, 42, MaxEntries - 1} {
		if seq, ok := ParseLog(LogObject(want)); !ok || seq != want {
			t.Errorf("%s is entry %d, %v", LogObject(want), seq, ok)
		}
	}
	for _, object := range []string{LogObject(MaxEntries), "log/1", "log/+000000001", "index/0000000001"} {
		if seq, ok := ParseLog(object); ok {
			t.Errorf("%s is entry %d", object, seq)
		}
	}
}

// A kind is found by its directory, and by no other's.
func TestIn(t *testing.T) {
	for k := Lease; k <= Log; k++ {
		if got := KindOfDir(strings.TrimSuffix(k.Dir(), "/")); got != k {
			t.Errorf("%s holds kind %d, want %d", k.Dir(), got, k)
		}
	}
	for _, dir := range []string{"", "config", "reserve", "tmp", "packs/ab"} {
		if got := KindOfDir(dir); got != None {
			t.Errorf("%q holds kind %d", dir, got)
		}
	}
}
