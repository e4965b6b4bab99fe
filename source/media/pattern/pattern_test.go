package pattern

import (
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string // paths, separated by spaces; a slash at the end makes a directory
	}{
		{"*.tmp", "a.tmp x/a.tmp x/y/.tmp d.tmp/", "a.tmpx x.tmp.d a/tmp"},
		{"/*.tmp", "a.tmp", "x/a.tmp"},
		{"cache", "cache cache/ a/cache", "cache2 a/xcache Cache"},
		{"/cache", "cache cache/", "a/cache"},
		{"cache/**", "cache/a cache/a/b cache/a/", "cache cache/ a/cache/b cachex/a"},
		{"/cache/**", "cache/a cache/a/b", "cache a/cache/b"},
		{"cache/*", "cache/a", "cache cache/a/b a/cache/b"},
		{"**/cache", "cache a/cache a/b/cache", "cache/a"},
		{"**/cache/**", "cache/a x/cache/a/b", "cache x/cache"},
		{"a/**/z", "a/z a/b/z a/b/c/z a/z/z", "a/b z a/zz b/a/z"},
		{"a/**/b/**/c", "a/b/c a/x/b/y/c a/b/b/c a/b/x/b/c", "a/c a/b a/x/c b/c"},
		{"**/x/y", "x/y x/x/y a/x/x/y", "x/y/z x/x"},
		{"**", "a a/b a/", ""},
		{"a/**/**/b", "a/b a/x/y/b", "a"},
		{"imports/", "imports/ a/imports/", "imports a/imports"},
		{"/backups/dumps/", "backups/dumps/", "backups/dumps a/backups/dumps/ backups/"},
		{"[a-c]?[!0-9]", "abx x/cz_", "ab1 dbx ab"},
		{"[^a]", "b", "a"},
		{`\*\[`, "*[ x/*[", "a[ \\*["},
		{`\!important`, "!important", "important"},
		{"a**b", "ab axxb", "a/b"},
		{"?", "x \xff a/\xff", "xx"},
		{"*", "\xff\xfe a/\xff \n", ""},
		{"/a b", "", "a"},
		{"{a,b}", "{a,b}", "a b"},
	} {
		x, err := ParseSet([]string{c.pattern})
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		for want, list := range map[bool]string{true: c.yes, false: c.no} {
			for path := range strings.SplitSeq(list, " ") {
				name, dir := strings.CutSuffix(path, "/")
				if name != "" && x.Match(name, dir) != want {
					t.Errorf("%q matches %q: %v", c.pattern, path, !want)
				}
			}
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "empty name", "/": "empty name", "//": "empty name", "a//b": "empty name", "./a": "no name", "a/..": "no name",
		"!a": "exceptions", "[a": "without its ]", "a/[b/c]": "without its ]", `a\`: "nothing behind", "[]": "without its ]", "[b-]": "without its ]",
	} {
		_, err := ParseSet([]string{"fine", pattern})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", pattern, err, want)
		}
	}
}

func BenchmarkSet(b *testing.B) {
	x, err := ParseSet([]string{"/cache/**", "*.tmp", "**/original/*.png", "imports/"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if x.Match("media_attachments/files/109/234/567/890/123/456/original/0123456789abcdef.jpg", false) {
			b.Fatal("matched")
		}
	}
}
