package fuzzing

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// Bomb returns 128 MiB of zeros, compressed: with their length in front, and without it.
func Bomb(tb testing.TB) (announced, silent []byte) {
	tb.Helper()
	zeros := make([]byte, 1<<20)
	var out bytes.Buffer
	w, err := zstd.NewWriter(&out, zstd.WithWindowSize(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	for range 128 {
		if _, err := w.Write(zeros); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	// The same with a header that is a single segment of 128 MiB: descriptor, and four bytes of length.
	silent = out.Bytes()
	announced = append([]byte("\x28\xb5\x2f\xfd\xa0\x00\x00\x00\x08"), silent[6:]...)
	return announced, silent
}
