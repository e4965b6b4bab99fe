package pack

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"testing"
)

// random returns n bytes that nothing compresses.
func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

func text(n int) []byte {
	return bytes.Repeat([]byte("A status about the winters of a small town.\n"), n/44+1)[:n]
}

func TestLooksRandom(t *testing.T) {
	var deflated bytes.Buffer
	w, _ := flate.NewWriter(&deflated, flate.BestCompression)
	rng := rand.New(rand.NewPCG(1, 2))
	for deflated.Len() < 1<<20 {
		w.Write([]byte{byte(rng.NormFloat64() * 20)})
	}
	uneven := random(1, 1<<20) // a code for bytes saves an eighth
	for i := range uneven {
		uneven[i] &= 0x7f
	}
	for _, test := range []struct {
		name string
		data []byte
		want bool
	}{
		{"random", random(1, 1<<20), true},
		{"random, of the least size", random(1, sampledFrame), true},
		{"deflated", deflated.Bytes()[:1<<20], true},
		{"short", random(1, sampledFrame-1), false},
		{"text", text(1 << 20), false},
		{"seven bits", uneven, false},
		{"zeros", make([]byte, 1<<20), false},
		{"text in between", append(append(random(1, 400<<10), text(300<<10)...), random(2, 400<<10)...), false},
	} {
		if got := looksRandom(test.data); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
