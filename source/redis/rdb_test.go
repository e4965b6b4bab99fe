package redis

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// realRDB returns what a real Redis saved, a few kilobytes.
func realRDB(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "redis7.rdb"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCheckRDB(t *testing.T) {
	good := realRDB(t)
	for name, r := range map[string]io.Reader{
		"whole":        bytes.NewReader(good),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(good)),
		"halves":       iotest.HalfReader(bytes.NewReader(good)),
		"EOF early":    iotest.DataErrReader(bytes.NewReader(good)),
	} {
		if err := CheckRDB(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if CheckRDB(bytes.NewReader(good[:n])) == nil {
			t.Errorf("cut to %d of %d bytes, and not noticed", n, len(good))
		}
		for bit := range 8 {
			bad := bytes.Clone(good)
			bad[n] ^= 1 << bit
			if CheckRDB(bytes.NewReader(bad)) == nil {
				t.Errorf("bit %d of byte %d flipped, and not noticed", bit, n)
			}
		}
	}
	if CheckRDB(bytes.NewReader(append(bytes.Clone(good), '\n'))) == nil {
		t.Error("a byte too many, and not noticed")
	}
	if CheckRDB(strings.NewReader("REDIS0011\xfe\x00\x00\x00\x00\x00\x00\x00\x00")) == nil {
		t.Error("no end mark before the zeros of a missing checksum, and not noticed")
	}
	boom := errors.New("boom")
	if err := CheckRDB(io.MultiReader(bytes.NewReader(good), iotest.ErrReader(boom))); err != boom {
		t.Errorf("the reader's error became %v", err)
	}
	// What is something else is told from its first bytes.
	endless := io.MultiReader(strings.NewReader("PGDMP and so on"), iotest.ErrReader(errors.New("read on")))
	if err := CheckRDB(endless); err == nil || !strings.Contains(err.Error(), "not an RDB") {
		t.Error(err)
	}
}

func TestCheckRDBVersion(t *testing.T) {
	for magic, want := range map[string]int{"REDIS0011": 11, "REDIS0009": 9, "VALKEY080": 80, "REDIS0004": 0, "REDIS-011": 0, "redis0011": 0, "RDB": 0} {
		c := &checked{}
		c.add([]byte(magic))
		if got, err := c.version(); got != want || (err == nil) != (want > 0) {
			t.Errorf("%s: version %d, %v", magic, got, err)
		}
	}
}

func TestRDBTime(t *testing.T) {
	good := realRDB(t)
	if got := rdbTime(good); got.Year() < 2024 {
		t.Errorf("time of the RDB is %v", got)
	}
	for n := range good {
		rdbTime(good[:n])
		bad := bytes.Clone(good)
		bad[n] = 0xFF
		rdbTime(bad)
	}
}

func TestMarkReader(t *testing.T) {
	const mark = "0123456789abcdef0123456789abcdef01234567"
	for _, size := range []int{0, 1, 39, 40, 41, 63, 64, 100, 1000} {
		body := bytes.Repeat([]byte(mark[:39]), size/39+1)[:size]
		for _, read := range []int{1, 7, 64, 4096} {
			in := io.MultiReader(bytes.NewReader(body), strings.NewReader(mark), strings.NewReader("*1\r\n$4\r\nPING\r\n"))
			m := &markReader{r: bufio.NewReaderSize(iotest.HalfReader(in), 64), mark: []byte(mark)}
			got, err := io.ReadAll(readSize{m, read})
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes in reads of %d: got %d, %v", size, read, len(got), err)
			}
		}
		lost := errors.New("connection lost")
		m := &markReader{r: bufio.NewReaderSize(io.MultiReader(bytes.NewReader(body), strings.NewReader(mark[:39]), iotest.ErrReader(lost)), 64), mark: []byte(mark)}
		if _, err := io.ReadAll(m); err != lost {
			t.Errorf("%d bytes without a mark behind: %v", size, err)
		}
	}
}

type readSize struct {
	r io.Reader
	n int
}

func (r readSize) Read(p []byte) (int, error) { return r.r.Read(p[:min(r.n, len(p))]) }

func BenchmarkCheckRDB(b *testing.B) {
	p := make([]byte, 64<<20)
	copy(p, "REDIS0011")
	p[len(p)-9] = 0xFF
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if err := CheckRDB(bytes.NewReader(p)); err != nil {
			b.Fatal(err)
		}
	}
}
