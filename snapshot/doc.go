// Package snapshot makes snapshots of a Mastodon instance, and brings them back.
//
// Create reads the four components of an instance (secrets, PostgreSQL, Redis, media) in an order that keeps them
// consistent, cuts them into blobs, and commits a manifest. Restore brings a snapshot back, Diff compares two, and a Tree is
// one as a file system, whose files are read at any offset. An Inspector tells the repository what a snapshot needs, and
// whether it can be put together again.
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
// # Listing
//
// The media tree is one sequence of entries, sorted by source.ComparePaths. An entry is:
//
//	combination<<4 | form<<2 | 2 if it has extended attributes | 1 if a file's ctime is its mtime
//	where the combination is a new one of this leaf, numbered by their order:
//	    type (a byte: f d l p s b c), mode, owner, group, device (0 unless a file)
//	path, against that of the entry before
//	mtime in nanoseconds, signed, less that of the entry before
//	of a file:
//	    ctime less mtime, signed, unless they are the same
//	    inode, signed, less that of the file before
//	    form 0: nothing, the file is empty
//	    form 1: size, ID: the file is one blob
//	    form 2: size, depth (a byte), length of a recipe's root, root
//	    form 3: size, path of the inode's first name, against its own: a hard link
//	of a symbolic link: length of its target, target
//	of a device: its number
//	with extended attributes: their number, and of each length of the name, name, length of the value, value
//
// "The entry before" is one of the same leaf: each leaf can be read by itself. A leaf is closed behind an entry if the
// first 8 bytes of SHA-256(key, path), as above, are divisible by 1,024, and it has 64 entries or more; and at 16,384
// entries or 616 KiB in any case. The key is the ID of a certain string, which nobody can tell without the ID key.
// Measured on a tree of Mastodon's shape, compressed by the repository's frames: 18 bytes an entry, 72 bytes a file with
// its directories, of which 32 are the ID.
//
// # Manifest
//
// JSON: see Manifest. What a link leads to that was followed is listed under the link's path, as a file or a directory. Each component has a state: captured; external, where media are in object storage; skipped, where a
// setting leaves it out; failed, with the reason. One that is not captured has no content, but for secrets: where one of the
// named files could not be read they have failed, and hold .env.production all the same. A snapshot has the database or media. The rows and bytes of each table are counted as the dump passes, exactly (package
// postgres has how); of the secrets that Mastodon's set-up generated there are keyed hashes, by which the next night tells that one
// has changed. Names that need not be UTF-8 are strings where they are, and else {"base64": "..."}. Members that a
// reader doesn't know are passed over.
package snapshot
