package redis

import (
	"hash/crc64"
	"math/rand/v2"
	"testing"
)

func TestCRC(t *testing.T) {
	// The check value of CRC-64/REDIS.
	if got := crcUpdate(0, []byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("%x", got)
	}
	p := make([]byte, 1000)
	rand.NewChaCha8([32]byte{}).Read(p)
	jones := crc64.MakeTable(0x95AC9329AC4BC9B5)
	for n := range p {
		// Package crc64 inverts the sum before and after.
		want := ^crc64.Update(^uint64(0), jones, p[:n])
		if got := crcUpdate(0, p[:n]); got != want {
			t.Fatalf("%d bytes: %x, want %x", n, got, want)
		}
		if got := crcUpdate(crcUpdate(0, p[:n/3]), p[n/3:n]); got != want {
			t.Fatalf("%d bytes in two parts: %x, want %x", n, got, want)
		}
	}
}

func BenchmarkCRC(b *testing.B) {
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		crcUpdate(0, p)
	}
}
