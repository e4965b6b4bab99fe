package postgres

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"testing"
)

func FuzzReadArchive(f *testing.F) {
	for _, minor := range []int{13, 14, 15, 16} {
		whole := newArchive(minor)
		// The long definition would only slow the search.
		f.Add(bytes.Replace(whole, []byte(strings.Repeat("long ", 100000)), nil, 1))
		f.Add(whole[:200])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := read(data)
		if err != nil || a.note != "" {
			return
		}
		n := 0
		for _, k := range a.kinds {
			n += k
		}
		if n != a.entries || a.entries > len(data) {
			t.Errorf("%d entries, %v, of %d bytes", a.entries, a.kinds, len(data))
		}
		// What was read is all that counts: anything may follow.
		again, err := readArchive(bufio.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader("more"))))
		if err != nil || again.entries != a.entries {
			t.Errorf("again: %d entries, %v", again.entries, err)
		}
	})
}
