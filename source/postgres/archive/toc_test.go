package archive

import (
	"bytes"
	"testing"
)

// A table of contents is an archive, ends where the data begin, and tells of no data where they are.
func TestTOC(t *testing.T) {
	for _, minor := range []int{14, 15, 16} {
		whole := bytes.TrimSuffix(newArchive(minor), []byte("data"))
		elsewhere := bytes.Clone(whole)
		copy(elsewhere[len(elsewhere)-9:], "\x02somewhere")
		toc, err := TOC(bytes.NewReader(append(elsewhere, "data and data"...)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(toc, whole) {
			t.Errorf("1.%d: %d bytes end in %q", minor, len(toc), toc[len(toc)-10:])
		}
		if a, err := read(toc); err != nil || a.Entries != 3 {
			t.Errorf("1.%d: %+v, %v", minor, a, err)
		}
		c, err := ReadContents(toc)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := read(c.WithPath(toc, "SELECT 1;\n")); err != nil || a.Entries != 3 {
			t.Errorf("1.%d: with a path %+v, %v", minor, a, err)
		}
	}
	for name, data := range map[string][]byte{"nothing": nil, "half": newArchive(14)[:100], "another version": newArchive(99), "something else": []byte("SELECT 1;\n")} {
		if toc, err := TOC(bytes.NewReader(data)); err == nil {
			t.Errorf("%s: %d bytes", name, len(toc))
		}
	}
}
