// Package stream has byte streams as blobs: a dump of a database, or one large file.
//
// A Recipe says which blobs a stream is put together from. A Writer makes one of the stream's chunks. Write writes the stream out in
// order, and a ReaderAt reads it at any offset; either fetches what it needs and no more, and gives out no byte that is not verified.
//
// A recipe is whatever somebody wrote who could. So nothing here believes a length before the bytes are there, and memory is bounded by
// one blob a level and a few MiB. Time is bounded by what is read, not by what is stored: a few blobs that name each other may be a
// stream that is endlessly long.
//
// # Numbers
//
// In the blobs below a number is an unsigned varint as of encoding/binary, in its shortest form; "signed" is the zigzag
// form of one. An ID is a blob's 32 bytes. A string is told by what differs from another one: the number of bytes that
// both begin with, at most, the number of bytes that follow, and these. What can be written in one way only is refused
// in any other.
//
// # Trees
//
// Recipes and listings are long sequences of records, and most of one night's is the same the next night. They are cut
// into leaves behind records that a keyed hash chooses, so that an unchanged run makes the same blobs, whatever happened
// before it; refs to the leaves are cut likewise into nodes, level upon level, until at most 32 refs are left, which
// stand in the manifest. So a change costs a blob a level, and whoever walks two trees can pass over what they share.
//
// A blob begins with two bytes: 'R' or 'L', for recipe or listing, and its level, 0 for a leaf, at most 8. The rest is
// records up to the end. In a node a record is a ref:
//
//	ID of a blob of the level below
//	its weight: bytes of the stream, or entries of the listing (not 0)
//	path of its first entry, against that of the ref before; empty in a recipe
//
// A node is closed behind a ref whose ID, as a little-endian number of its first 8 bytes, is divisible by 512, if it has
// 32 refs or more; and at 4,096 refs or 256 KiB in any case. That a level is at least 32 times shorter than the one below
// holds whatever the hashes are. What lies below a ref of a listing sorts before the path of the next ref, of its node or of one
// above: a listing names nothing twice.
//
// # Recipe
//
// A byte stream is a sequence of chunks. In a leaf a record is one:
//
//	length<<2 | kind
//	kind 0: ID of the blob that the chunk is
//	kind 1: number of extents (1 to 512), each ID of a blob, offset, length (not 0); then the chunk's own keyed ID
//	kind 2: nothing; the chunk is a hole, which reads as zeros
//
// A chunk is 1 byte to 8 MiB long, a hole up to 1<<61. A leaf is closed behind a chunk whose ID, as a number as above, is
// divisible by 16, if it has 8 chunks or more; a hole closes none; and at a node's maxima in any case. Where a stream
// has few extents, up to 32 in a manifest and 16 in a listing, its records stand in the root, at depth 0.
//
// A recipe of few chunks has no blob of its own: see InManifest and InListing.
package stream
