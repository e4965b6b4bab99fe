package pack

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"testing"

	"permafrost/internal/storetest"
)

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
	uneven := storetest.Random(1, 1<<20) // a code for bytes saves an eighth
	for i := range uneven {
		uneven[i] &= 0x7f
	}
	for _, test := range []struct {
		name string
		data []byte
		want bool
	}{
		{"random", storetest.Random(1, 1<<20), true},
		{"random, of the least size", storetest.Random(1, sampledFrame), true},
		{"deflated", deflated.Bytes()[:1<<20], true},
		{"short", storetest.Random(1, sampledFrame-1), false},
		{"text", text(1 << 20), false},
		{"seven bits", uneven, false},
		{"zeros", make([]byte, 1<<20), false},
		{"text in between", append(append(storetest.Random(1, 400<<10), text(300<<10)...), storetest.Random(2, 400<<10)...), false},
	} {
		if got := looksRandom(test.data); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
