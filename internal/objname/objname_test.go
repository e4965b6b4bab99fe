package objname

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, name := range []string{"a", "config", "packs/ab/ab12", "log/0000000042", "a.b_c-d", "x..y", "0/-/_", strings.Repeat("a", 255)} {
		if err := Check(name); err != nil {
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
		if err := Check(name); err == nil {
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

func TestShaped(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for _, name := range []string{"config", "reserve", "log/0000000042", "index/" + hash, "manifests/" + hash, "keys/" + hash + ".age",
		"packs/ab/" + hash, "leases/" + hash[:32]} {
		if !Shaped(name) {
			t.Errorf("%s has no object's shape", name)
		}
	}
	for _, name := range []string{"", "log", "log/00", "log/000000004a", "log/00000000042", "log/0000000042/x", "config/x", "other", "index/" + hash[1:],
		"index/" + hash + "0", "index/ab/" + hash, "keys/" + hash, "keys/.age", "packs/" + hash, "packs/00/" + hash, "packs/00/hard", "packs/ab/x/" + hash,
		"leases/11", "tmp/x", "index/" + strings.ToUpper(hash), "manifests/" + hash + ".age"} {
		if Shaped(name) {
			t.Errorf("%s has an object's shape", name)
		}
	}
}
