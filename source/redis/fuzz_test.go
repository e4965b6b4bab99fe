package redis

import (
	"bytes"
	"testing"
	"testing/iotest"

	"permafrost/internal/fuzzing"
)

func FuzzCheckRDB(f *testing.F) {
	good := realRDB(f)
	check := func(b []byte) error { return CheckRDB(bytes.NewReader(b)) }
	fuzzing.Seed(f, check, good, []byte("REDIS0011\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		var a error
		fuzzing.Bound(t, 256<<10, func() { a = check(b) }) // a buffer
		if c := CheckRDB(iotest.OneByteReader(bytes.NewReader(b))); (a == nil) != (c == nil) {
			t.Errorf("at once: %v, byte by byte: %v", a, c)
		}
		if a == nil && (len(b) < magicSize+1+crcSize || b[len(b)-crcSize-1] != endMark) {
			t.Errorf("%q is taken", b)
		}
		rdbTime(b)
	})
}
