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
