package index

// A Bitset holds a bit for each place of an index.
type Bitset []uint64

func NewBitset(n int) Bitset { return make(Bitset, (n+63)/64) }

func (b Bitset) Has(i int) bool { return b[i/64]>>(i%64)&1 != 0 }

// Set sets a bit and reports whether it was not.
func (b Bitset) Set(i int) bool {
	was := b.Has(i)
	b[i/64] |= 1 << (i % 64)
	return !was
}
