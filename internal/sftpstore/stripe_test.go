package sftpstore

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"permafrost/internal/storetest"
)

// Over several channels objects of any size, given in any parts, are what they were.
func TestStripes(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	for _, channels := range []int{1, 3} {
		c := config(server)
		c.Channels = channels
		c.Path = fmt.Sprint(c.Path, "/", channels)
		s := open(t, c)
		for i, n := range []int{0, 1, stripeSize - 1, stripeSize, stripeSize + 1, 5*stripeSize + 17, 9 * stripeSize} {
			if many := len(s.stripes(n)); many > 1 != (channels > 1 && n > stripeSize) || many > 2*channels {
				t.Errorf("%d stripes of %d bytes with %d channels", many, n, channels)
			}
			name, data := fmt.Sprint("a/", i), storetest.Random(uint64(i), n)
			if err := s.Put(t.Context(), name, data[:n/3], nil, data[n/3:n/3*2], data[n/3*2:]); err != nil {
				t.Fatal(err)
			}
			holds(t, s, name, data)
			for _, off := range []int{0, 1, n / 2, n - 1, n, n + 1} {
				if off < 0 {
					continue
				}
				p := make([]byte, n+10)
				got, err := s.ReadAt(t.Context(), name, p, int64(off))
				if err != io.EOF || !bytes.Equal(p[:got], data[min(off, n):]) {
					t.Errorf("%d bytes, read from %d on: %d, %v", n, off, got, err)
				}
			}
		}
	}
}

// A connection that breaks while stripes are under way costs a retry, of a Put and of a ReadAt.
func TestCutStripes(t *testing.T) {
	t.Parallel()
	server := plainSSHD(t)
	r, c := startRelay(t, server, 0)
	c.Channels = 3
	s := open(t, c)
	put(t, s, "first", nil)
	for i := range 8 {
		name, data := fmt.Sprint("cut/", i), storetest.Random(uint64(i), 4*stripeSize+100)
		at := int64(1 + i*len(data)/8)
		had := r.Cuts.Load()
		r.CutUp.Store(r.Up.Load() + at)
		put(t, s, name, data)
		r.CutUp.Store(0)
		r.CutDown.Store(r.Down.Load() + at)
		holds(t, s, name, data)
		r.CutDown.Store(0)
		if r.Cuts.Load() < had+2 {
			t.Errorf("cuts at byte %d did not happen", at)
		}
	}
	eventually(t, "nothing left below tmp/", func() bool { return count(t, s, "tmp/") == 0 })
}
