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

func FuzzReadRDB(f *testing.F) {
	good := realRDB(f)
	read := func(b []byte) error {
		_, err := ReadRDB(bytes.NewReader(b))
		return err
	}
	// Without a checksum, so that what is inside matters.
	bare := append(bytes.Clone(good[:len(good)-crcSize]), make([]byte, crcSize)...)
	fuzzing.Seed(f, read, bare, []byte("REDIS0011\xfe\x00\x00\x01a\x01b\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c *Contents
		var err error
		fuzzing.Bound(t, 4<<20, func() { c, err = ReadRDB(bytes.NewReader(b)) }) // buffers, and kinds of keys
		if (err == nil) != (CheckRDB(bytes.NewReader(b)) == nil) {
			t.Errorf("read: %v, checked otherwise", err)
		}
		if err == nil && (c.Databases == nil) != (c.Uncounted != "") {
			t.Errorf("neither counted nor not: %+v", c)
		}
	})
}
