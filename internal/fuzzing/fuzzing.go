// Package fuzzing holds what the fuzz targets of the parsers have in common.
package fuzzing

import (
	"runtime"
	"testing"
)

// Seed adds inputs to f. Each must be one that parse takes, so that the search begins behind the parser's first checks.
func Seed(f *testing.F, parse func([]byte) error, inputs ...[]byte) {
	f.Helper()
	if len(inputs) == 0 {
		f.Fatal("no seeds")
	}
	for i, in := range inputs {
		if err := parse(in); err != nil {
			f.Fatalf("seed %d, %d bytes: %v", i, len(in), err)
		}
		f.Add(in)
	}
}

// slack is what Bound lets pass beside its limit: errors, and what others allocate meanwhile.
const slack = 256 << 10

// Bound calls f and fails where that allocates more than limit bytes and a little: a parser must not believe a length that
// its input does not justify.
func Bound(t testing.TB, limit int, f func()) {
	t.Helper()
	before := allocated()
	f()
	if n := allocated() - before; n > uint64(limit)+slack {
		t.Errorf("%d bytes were allocated, more than %d", n, limit)
	}
}

// allocated returns the bytes of all that was ever allocated. It stops the world for some microseconds; package
// runtime/metrics would not, and counts small objects late.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
