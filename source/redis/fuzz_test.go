package redis

import (
	"bytes"
	"testing"
	"testing/iotest"
)

func FuzzCheckRDB(f *testing.F) {
	good := realRDB(f)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("REDIS0011\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := CheckRDB(bytes.NewReader(b))
		if c := CheckRDB(iotest.OneByteReader(bytes.NewReader(b))); (a == nil) != (c == nil) {
			t.Errorf("at once: %v, byte by byte: %v", a, c)
		}
		rdbTime(b)
	})
}
