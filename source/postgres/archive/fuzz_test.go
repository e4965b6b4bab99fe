package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"

	"permafrost/internal/fuzzing"
)

func FuzzRead(f *testing.F) {
	for _, minor := range []int{13, 14, 15, 16} {
		whole := newArchive(minor)
		// The long definition would only slow the search.
		short := bytes.Replace(whole, binary.LittleEndian.AppendUint32(nil, 500_000), make([]byte, 4), 1)
		short = bytes.Replace(short, []byte(strings.Repeat("long ", 100_000)), nil, 1)
		fuzzing.Seed(f, func(b []byte) error {
			if a, err := read(b); err != nil || a.Note == "" && a.Entries != 3 {
				return fmt.Errorf("%d entries, %w", a.Entries, err)
			}
			return nil
		}, short)
		f.Add(whole[:200])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a Archive
		var err error
		fuzzing.Bound(t, 8*len(data), func() { a, err = read(data) })
		if err != nil || a.Note != "" {
			return
		}
		n := 0
		for _, k := range a.Kinds {
			n += k
		}
		if n != a.Entries || a.Entries > len(data) {
			t.Errorf("%d entries, %v, of %d bytes", a.Entries, a.Kinds, len(data))
		}
		// What was read is all that counts: anything may follow.
		again, err := Read(bufio.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader("more"))))
		if err != nil || again.Entries != a.Entries {
			t.Errorf("again: %d entries, %v", again.Entries, err)
		}
		toc, err := TOC(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ReadContents(toc)
		if err != nil || c.Entries != a.Entries {
			t.Fatalf("contents: %v", err)
		}
		if moved, err := read(c.WithPath(toc, "SELECT 1;\n")); err != nil || moved.Entries != a.Entries {
			t.Errorf("with a path: %d entries, %v", moved.Entries, err)
		}
	})
}
