package upkeep

// A bitset holds a bit for each place of an index.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }

// set sets a bit and reports whether it was not.
func (b bitset) set(i int) bool {
	was := b.has(i)
	b[i/64] |= 1 << (i % 64)
	return !was
}
