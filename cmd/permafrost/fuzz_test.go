package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"permafrost/internal/fuzzing"
	"permafrost/repo/upkeep"
)

// FuzzParseConfig reads configuration files. What one says can be written again, and said to a command's flags.
func FuzzParseConfig(f *testing.F) {
	parse := func(b []byte) error { _, err := parseConfig(string(b)); return err }
	fuzzing.Seed(f, parse, []byte("repository = \"sftp:u@h:/p\"\nidentity_file = \"one.key\"\ntags = [\"nightly\", \"live\"]\n[keep]\ndaily = 7\nwithin = \"30d\"\n"),
		[]byte("no_cache_media = true\nkeep.last = -1\nexclude = '''a\nb'''\nlimit_upload = \"5M\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig(string(text))
		if err != nil {
			return
		}
		var out strings.Builder
		if err := toml.NewEncoder(&out).Encode(treeOf(c)); err != nil {
			t.Fatal(err)
		}
		if again, err := parseConfig(out.String()); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%q says %v, and that says %v, %v", text, c, again, err)
		}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		flags.Var(new(rate), "limit-upload", "")
		flags.Var(new(keepCount), "keep-daily", "")
		fill("forget", flags, func(string) string { return "" }, c)
	})
}

// treeOf is what a configuration file of these values decodes to.
func treeOf(c config) map[string]any {
	tree := make(map[string]any)
	for _, s := range settings {
		words, ok := c[s.key]
		if !ok {
			continue
		}
		table, key := tree, s.key
		if name, rest, ok := strings.Cut(key, "."); ok {
			if tree[name] == nil {
				tree[name] = make(map[string]any)
			}
			table, key = tree[name].(map[string]any), rest
		}
		table[key] = valueOf(s.kind, words)
	}
	return tree
}

func valueOf(k kind, words []string) any {
	switch k {
	case isList:
		return append([]string{}, words...)
	case isText:
		return words[0]
	}
	var v struct{ X any }
	if _, err := toml.Decode("X = "+words[0], &v); err != nil {
		panic(err) // it was one
	}
	return v.X
}

// FuzzFlags reads values of flags: what is taken is in its range, and reads the same once it is written.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{"1.5G", "512 B", "5%", "2/7", "all", "2026-06-27", "30d"} {
		f.Add(s)
	}
	if err := new(size).Set("1.5G"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkSize(t, text)
		checkSubset(t, text)
		var p percent
		if err := p.Set(text); err == nil && !(p >= 0 && p <= 1) {
			t.Errorf("%q is %v", text, float64(p))
		}
		var n, again keepCount
		if err := n.Set(text); err == nil && (n < -1 || again.Set(n.String()) != nil || again != n) {
			t.Errorf("%q is %d", text, n)
		}
		var d date
		if err := d.Set(text); err == nil {
			if _, err := time.Parse(time.DateOnly, d.String()); err != nil {
				t.Error(err)
			}
		}
	})
}

// checkSize demands that a size comes back from its text, which has three digits.
func checkSize(t *testing.T, text string) {
	t.Helper()
	s, again := size(-1), size(-1)
	if s.Set(text) != nil {
		if s != -1 {
			t.Errorf("%q is no size, and set to %d", text, s)
		}
		return
	}
	if s < 0 {
		t.Errorf("%q is %d", text, s)
	}
	if s >= 999<<40 {
		return // in units that no flag takes
	}
	err := again.Set(s.String())
	if off := float64(again - s); err != nil || off > float64(s)/100 || -off > float64(s)/100 {
		t.Errorf("%q is %d, written %v, which reads as %d, %v", text, s, s, again, err)
	}
}

func checkSubset(t *testing.T, text string) {
	t.Helper()
	var f subsetFlag
	if f.Set(text) != nil {
		return
	}
	switch s := *f.set; s {
	case upkeep.Subset{Percent: s.Percent}, upkeep.Subset{Bytes: s.Bytes}, upkeep.Subset{Part: s.Part, Of: s.Of}:
		if s.Percent < 0 || s.Percent > 100 || s.Bytes < 0 || s.Part < 0 || s.Part > s.Of || s == (upkeep.Subset{}) {
			t.Errorf("%q is %+v", text, s)
		}
	default:
		t.Errorf("%q is %+v", text, s)
	}
}

// FuzzPlace reads a repository's address.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"sftp:u@h:/p", "sftp://h:22/p", "/srv/repo", "./a:b", "file:///srv"} {
		if _, err := parsePlace(s); err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := parsePlace(s); err == nil && (p.sftp == nil) == (p.dir == "") {
			t.Errorf("%q is %+v", s, p)
		}
	})
}
