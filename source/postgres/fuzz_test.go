package postgres

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

func FuzzReadArchive(f *testing.F) {
	for _, minor := range []int{13, 14, 15, 16} {
		whole := newArchive(minor)
		// The long definition would only slow the search.
		short := bytes.Replace(whole, binary.LittleEndian.AppendUint32(nil, 500_000), make([]byte, 4), 1)
		short = bytes.Replace(short, []byte(strings.Repeat("long ", 100_000)), nil, 1)
		fuzzing.Seed(f, func(b []byte) error {
			if a, err := read(b); err != nil || a.note == "" && a.entries != 3 {
				return fmt.Errorf("%d entries, %w", a.entries, err)
			}
			return nil
		}, short)
		f.Add(whole[:200])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var a archive
		var err error
		fuzzing.Bound(t, 8*len(data), func() { a, err = read(data) })
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
		toc, err := TOC(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		c, err := readContents(toc)
		if err != nil || c.archive.entries != a.entries {
			t.Fatalf("contents: %v", err)
		}
		if moved, err := read(c.withPath(toc)); err != nil || moved.entries != a.entries {
			t.Errorf("with a path: %d entries, %v", moved.entries, err)
		}
		c.settingsSQL()
	})
}
