package core

import "permafrost/chunk"

// StatsInFlight is how many questions to the storage are under way at once, of whether a pack is there.
const StatsInFlight = 16

// A HalfID is the first half of a blob's ID. It stands for the whole among the blobs of one run: 128 bits of a keyed hash
// don't meet twice by chance, and nobody without the key can make them.
type HalfID [chunk.Size / 2]byte

// Half returns the first half of an ID.
func Half(id chunk.ID) HalfID { return HalfID(id[:chunk.Size/2]) }
