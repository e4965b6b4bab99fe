package redis

import "testing"

func TestCRC(t *testing.T) {
	// The check value of CRC-64/REDIS.
	const text, want = "123456789", 0xe9c6d914c4b8d9ca
	for n := range text {
		if got := crcUpdate(crcUpdate(0, []byte(text[:n])), []byte(text[n:])); got != want {
			t.Errorf("in parts of %d and %d bytes: %x, want %x", n, len(text)-n, got, uint64(want))
		}
	}
}

func BenchmarkCRC(b *testing.B) {
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		crcUpdate(0, p)
	}
}
