// Package repo keeps content-addressed blobs and the snapshots that refer to them in a Store: deduplicated,
// compressed, encrypted with age, signed, and ordered by one log.
//
// # Objects
//
//	config              the repository's ID and format, in the clear
//	keys/9a0b….age      a keyring wrapped to one person's age recipient, for whom has no key file
//	packs/ab/ab12…      blobs
//	index/cd34…         which pack holds which blob
//	manifests/ef56…     a snapshot's manifest
//	log/0000000042      the log, one object an entry, from 0 on
//	reserve             1 MiB that a full storage is pruned with
//	leases/R            who is at work now; advisory: no promise depends on it
//	tmp/…               the store's own: uploads under way
//
// Keyrings, packs, index objects and manifests are named by the SHA-256 of their stored bytes in lower-case hexadecimal,
// so that a machine without any key can scrub them with sha256sum.
//
// # Config
//
// JSON of at most 4 KiB: {"format":1,"id":"<64 hexadecimal digits>"} and a line feed, to the byte. Another format is
// refused.
//
// # Envelope
//
// Index objects, manifests, log entries and leases lie in envelopes, encrypted and signed: see [permafrost/repo/keys].
//
// # Pack
//
// An age file of blobs, compressed together in frames, and their directory: see [permafrost/repo/internal/pack].
//
// # Index
//
// An envelope of
//
//	length of the instance's name (at most 255), name: all of the packs were written for it
//	number of packs (at least 1), then for each pack
//	    name (32 bytes), stored size (at most 64 MiB), length of the age header with the nonce behind it
//	    length of the directory, directory (as in the pack)
//
// A blob of a small file takes 35 bytes in it and 35 in its pack's directory. IDs do not compress.
//
// # Local index
//
// What the index objects say is kept in the cache directory as tables: files of 4 KiB pages, each proven by a key that
// comes from the keyring, read page by page and never whole. A table holds, in this order: the frames of its packs
// (12 bytes each); an entry of 45 bytes for each blob in each pack, sorted by ID: ID, pack, frame, offset in the frame,
// length; the first 8 bytes of each page of entries, which are held in memory; the index objects that it covers, with
// their signers and instances; and what is known of each pack (87 bytes, held in memory). It is named for the index
// objects that it covers. Nothing in it depends on the log: whose word counts, which packs are gone and which are bad
// is decided when it is opened, by the log as it then is.
//
// A night's index objects make a small table; tables are merged once the smaller ones have a quarter of a larger one's
// entries, and leave out then what a prune has taken away. Several processes may do so at once: tables are never
// changed, only replaced, and whoever has one open reads on. One that is not what was written is removed and made anew
// from the store, as is one that is lost. Where the cache can't be written a temporary file takes its place, or memory.
//
// # Manifest
//
// An envelope of zstd-compressed JSON, at most 64 MiB when decompressed; package snapshot owns what it says. It is signed by
// the key that signed the log entry which names it.
//
// # Log entry
//
// An envelope of JSON, signed: see [permafrost/repo/ledger].
package repo
