package archive

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// A testArchive writes the head of an archive as pg_dump does.
type testArchive struct {
	bytes.Buffer
	version int
}

func (a *testArchive) int(n int) {
	sign := byte(0)
	if n < 0 {
		sign, n = 1, -n
	}
	a.Write([]byte{sign, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
}

func (a *testArchive) string(s string) {
	a.int(len(s))
	a.WriteString(s)
}

func (a *testArchive) entry(id int, kind, definition string) {
	a.int(id)
	a.int(1)
	for _, s := range []string{"1259", "16384", "a tag", kind} {
		a.string(s)
	}
	a.int(2)
	a.string(definition)
	a.string("DROP it;")
	a.int(-1) // no copy statement
	for _, s := range []string{"public", "", "heap"} {
		a.string(s)
	}
	if a.version >= 16 {
		a.int('r')
	}
	a.string("mastodon")
	a.string("false")
	a.string("17")
	a.string("18")
	a.int(-1)
	a.Write([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0})
}

// newArchive returns an archive of version 1.minor with three entries, and some data behind them.
func newArchive(minor int) []byte {
	a := &testArchive{version: minor}
	a.WriteString("PGDMP")
	a.Write([]byte{1, byte(minor), 0, 4, 8, 1})
	if minor >= 15 {
		a.WriteByte(0)
	} else {
		a.int(0)
	}
	for _, n := range []int{1, 2, 3, 4, 5, 126, 0} {
		a.int(n)
	}
	for _, s := range []string{"mastodon_production", "15.14", "17.6"} {
		a.string(s)
	}
	a.int(3)
	a.entry(1, "TABLE", strings.Repeat("long ", 100000))
	a.entry(2, "TABLE DATA", "")
	a.entry(3, "TABLE", "x")
	a.WriteString("data")
	return a.Bytes()
}

func read(data []byte) (Archive, error) { return Read(bufio.NewReader(bytes.NewReader(data))) }

func TestRead(t *testing.T) {
	for _, minor := range []int{14, 15, 16} {
		a, err := read(newArchive(minor))
		if err != nil {
			t.Fatal(err)
		}
		if a.Entries != 3 || a.Kinds["TABLE"] != 2 || a.Kinds["TABLE DATA"] != 1 || len(a.Kinds) != 2 {
			t.Errorf("1.%d: %d entries, %v", minor, a.Entries, a.Kinds)
		}
		if a.Database != "mastodon_production" || a.Server != "15.14" || a.Dumper != "17.6" || a.Note != "" || a.Version[:4] != "1.1"+string(rune('0'+minor-10)) {
			t.Errorf("1.%d: %+v", minor, a)
		}
	}
	for _, minor := range []int{13, 17, 255} {
		a, err := read(newArchive(minor))
		if err != nil || !strings.Contains(a.Note, "is unknown") || a.Entries != 0 {
			t.Errorf("1.%d: %+v, %v", minor, a, err)
		}
	}
}

// Cut anywhere before its data, an archive is refused; so is what can't be one.
func TestReadErrors(t *testing.T) {
	whole := newArchive(16)
	end := len(whole) - len("data")
	for n := 0; n < end; n++ {
		if n > 700 && n < end-700 { // inside of the long definition
			n = end - 700
		}
		if _, err := read(whole[:n]); err == nil {
			t.Fatalf("cut to %d bytes it passes", n)
		}
	}
	for name, change := range map[string]func([]byte){
		"magic":           func(b []byte) { b[0] ^= 1 },
		"integer's size":  func(b []byte) { b[8] = 9 },
		"no integer":      func(b []byte) { b[8] = 0 },
		"offset's size":   func(b []byte) { b[9] = 0 },
		"format":          func(b []byte) { b[10] = 3 },
		"name's length":   func(b []byte) { b[11+1+7*5+2] = 0xff },
		"huge length":     func(b []byte) { b[11+1+7*5+4] = 0xff },
		"entries":         func(b []byte) { copy(b[countAt(b)+1:], "\xff\xff\xff\x7f") },
		"negative count":  func(b []byte) { b[countAt(b)] = 1 },
		"entry's ID is 0": func(b []byte) { b[countAt(b)+5+1] = 0 },
	} {
		b := bytes.Clone(whole)
		change(b)
		if _, err := read(b); err == nil {
			t.Errorf("%s: it passes", name)
		}
	}
}

// countAt is where an archive's number of entries stands.
func countAt(b []byte) int {
	at := bytes.Index(b, []byte("17.6")) + 4
	return at
}
