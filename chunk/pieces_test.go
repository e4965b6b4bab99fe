package chunk

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func testData(seed uint64, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return data
}

func TestPieces(t *testing.T) {
	c := NewCutter(IDKey{1})
	for _, n := range []int{0, 1, MinPiece - 1, MinPiece, MinPiece + 1, MaxPiece, 100_000} {
		data := testData(1, n)
		pieces := c.Cut(nil, data)
		at := 0
		for i, p := range pieces {
			if p.Length > MaxPiece || p.Length < MinPiece && i < len(pieces)-1 || p.Length == 0 {
				t.Errorf("piece %d of %d has %d bytes", i, len(pieces), p.Length)
			}
			alone := c.Cut(nil, data[at:at+p.Length])
			if len(alone) != 1 || alone[0] != p {
				t.Errorf("piece %d is another by itself", i)
			}
			at += p.Length
		}
		if at != n {
			t.Errorf("pieces of %d bytes make %d", n, at)
		}
		if avg := n / max(1, len(pieces)); n == 100_000 && (avg < 230 || avg > 280) {
			t.Errorf("pieces have %d bytes on average", avg)
		}
	}
}

// After a change the pieces are the same as before soon, and another secret cuts elsewhere.
func TestPiecesMeetAgain(t *testing.T) {
	data := testData(2, 64<<10)
	changed := bytes.Join([][]byte{data[:20_000], []byte("something new"), data[20_100:]}, nil)
	sums := func(secret byte, data []byte) map[PieceSum]bool {
		m := make(map[PieceSum]bool)
		for _, p := range NewCutter(IDKey{secret}).Cut(nil, data) {
			m[p.Sum] = true
		}
		return m
	}
	old, lost := sums(1, data), 0
	for s := range sums(1, changed) {
		if !old[s] {
			lost++
		}
	}
	if lost == 0 || lost > 6 {
		t.Errorf("one change made %d new pieces", lost)
	}
	for s := range sums(2, data) {
		if old[s] {
			t.Fatal("another secret makes the same piece sum")
		}
	}
}

func BenchmarkPieces(b *testing.B) {
	data := testData(1, 64<<10)
	c := NewCutter(IDKey{1})
	var pieces []Piece
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		pieces = c.Cut(pieces[:0], data)
	}
}
