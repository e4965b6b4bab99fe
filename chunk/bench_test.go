package chunk

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// noise returns n bytes that no one can compress, the same for the same seed.
func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

const testPolynomial = 0x3DA3358B4DC173

func BenchmarkSplitter(b *testing.B) {
	data := noise(1, 64<<20)
	for _, c := range []struct {
		name string
		p    Params
	}{{"Stream", Stream}, {"File", File}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			s := NewSplitter(nil, testPolynomial, c.p)
			for b.Loop() {
				s.Reset(bytes.NewReader(data))
				for {
					if _, err := s.Next(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkSum(b *testing.B) {
	key := IDKey{1}
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			data := noise(2, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				key.Sum(data)
			}
		})
	}
}
