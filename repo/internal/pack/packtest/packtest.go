// Package packtest has what tests of packs have in common, where there is no pack but only what is said of it.
package packtest

import (
	"math/rand/v2"

	"permafrost/repo/internal/pack"
)

// Fit gives the frames of a pack stored lengths, and the pack the size that its directory then makes it: no other is taken.
func Fit(rng *rand.Rand, p *pack.Pack) {
	plain := int64(len(pack.Magic) + 8 + len(pack.EndMagic))
	for i := range p.Frames {
		f := &p.Frames[i]
		f.Stored = 1 + rng.IntN(f.Length())
		if f.Codec == pack.Raw {
			f.Stored = f.Length()
		}
		plain += int64(f.Stored)
	}
	plain += int64(len(p.Directory.Append(nil)))
	p.Size = int64(p.Header) + plain + (plain+pack.AgeChunk-1)/pack.AgeChunk*pack.AgeOverhead
}
