// Package pack makes packs and reads what is in them.
//
// A [Pipeline] turns blobs into packs in a store: it compresses, encrypts and uploads side by side, in bounded memory. A [Pack] is what
// an index remembers of one, and a [Directory] its table of contents. An [Opener] decrypts a pack and tells for which instance it was
// written. [CheckFrames] verifies every blob of a pack.
//
// # Pack
//
// An age file, to the data recipient or, for component meta, to the meta recipient, whose plaintext is
//
//	 0   8  magic: "PFPACK\x00" and the version byte 1
//	 8      frames, one behind the other
//	        directory
//	-16  8  length of the directory, little-endian
//	 -8  8  magic: "PFPEND\x00" and the version byte 1
//
// The header of that age file has a second stanza, the mark of the instance that the pack was written for:
//
//	-> permafrost-instance
//	HKDF-SHA-256 of the file key, without salt, with the info "permafrost instance 1\n" and the instance's name: 32 bytes
//
// The header's MAC covers it. Whoever opens a pack for an instance compares the mark, and refuses a pack with another one,
// with none or with several. It tells nothing to who can't open the pack; age itself passes over it.
//
// A frame is the zstd compression of consecutive blobs together, or these bytes as they are where compression
// gains nothing. Numbers of the directory are unsigned varints in their shortest form:
//
//	epoch, component
//	number of frames (at most 1<<20), then for each frame
//	    codec (0 raw, 1 zstd), stored length (at most 16 MiB)
//	    number of blobs (at least 1), then for each blob
//	        ID (32 bytes), length (1 to 8 MiB)
//
// A frame's plaintext is its blobs in the order of the directory, at most 16 MiB together. A blob's ID is the
// keyed BLAKE3-256 of its bytes, by the epoch's data key or, in component meta, its meta key.
package pack
