package place

import "testing"

// FuzzPlace reads a repository's address.
func FuzzPlace(f *testing.F) {
	for _, s := range []string{"sftp:u@h:/p", "sftp://h:22/p", "/srv/repo", "./a:b", "file:///srv"} {
		if _, err := Parse(s); err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := Parse(s); err == nil && (p.sftp == nil) == (p.dir == "") {
			t.Errorf("%q is %+v", s, p)
		}
	})
}
