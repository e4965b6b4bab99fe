package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

func TestReader(t *testing.T) {
	b := binary.AppendUvarint([]byte{7}, 300)
	b = binary.AppendVarint(b, math.MinInt64)
	b = binary.AppendVarint(b, math.MaxInt64)
	b = append(binary.AppendUvarint(b, 3), "abc"...)
	r := NewReader(b)
	if v := r.Byte(); v != 7 {
		t.Errorf("byte %d", v)
	}
	if v := r.Uvarint(300); v != 300 {
		t.Errorf("uvarint %d", v)
	}
	if a, z := r.Varint(), r.Varint(); a != math.MinInt64 || z != math.MaxInt64 {
		t.Errorf("varints %d, %d", a, z)
	}
	if v := r.Bytes(r.Count(10, 1)); !bytes.Equal(v, []byte("abc")) || cap(v) != 3 {
		t.Errorf("bytes %q, capacity %d", v, cap(v))
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// The first error sticks, whatever is read after it, and no value is made up.
func TestReaderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		read func(*Reader)
	}{
		"no byte":                        {nil, func(r *Reader) { r.Byte() }},
		"too few bytes":                  {[]byte{1, 2}, func(r *Reader) { r.Bytes(3) }},
		"negative length":                {[]byte{1, 2}, func(r *Reader) { r.Bytes(-1) }},
		"cut number":                     {[]byte{0x80}, func(r *Reader) { r.Uvarint(1000) }},
		"number above its limit":         {[]byte{100}, func(r *Reader) { r.Uvarint(99) }},
		"number of more than 64 bits":    {bytes.Repeat([]byte{0xff}, 11), func(r *Reader) { r.Uvarint(math.MaxUint64) }},
		"number longer than need be":     {[]byte{0x81, 0x00}, func(r *Reader) { r.Uvarint(1000) }},
		"count that the rest can't hold": {[]byte{3, 0, 0, 0, 0, 0}, func(r *Reader) { r.Count(100, 2) }},
		"count that overflows":           {binary.AppendUvarint(nil, 1<<59), func(r *Reader) { r.Count(math.MaxInt64, 32) }},
		"bytes left over":                {[]byte{1, 2}, func(r *Reader) { r.Byte() }},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(c.in)
			c.read(r)
			first := r.Close()
			if first == nil {
				t.Fatal("no error")
			}
			r.Fail(errors.New("another"))
			if r.Byte() != 0 || r.Uvarint(9) != 0 || r.Varint() != 0 || r.Count(9, 1) != 0 || r.Bytes(1) != nil || r.Len() != 0 || r.Err() != first {
				t.Error("it goes on after an error")
			}
		})
	}
}
