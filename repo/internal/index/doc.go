// Package index tells where blobs lie.
//
// Index objects in the storage say which pack holds which blob. A [Loader] makes an [Index] of those that the log names. It keeps what
// they say in tables on this machine, so that each is read once. The [ledger.History] decides whose word counts, each time.
//
// # Index object
//
// An envelope of
//
//	length of the instance's name (at most 255), name: all of the packs were written for it
//	number of packs (at least 1), then for each pack
//	    name (32 bytes), stored size (at most 64 MiB), length of the age header with the nonce behind it
//	    length of the directory, directory (as in the pack)
//
// Numbers are unsigned varints in their shortest form. A blob of a small file takes 35 bytes in it and 35 in its pack's directory. IDs
// do not compress.
//
// # Tables
//
// A table is a file of 4 KiB pages, each proven by a key that comes from the keyring, read page by page and never whole. It holds, in
// this order: the frames of its packs (12 bytes each); an entry of 45 bytes for each blob in each pack, sorted by ID: ID, pack, frame,
// offset in the frame, length; the first 8 bytes of each page of entries, which are held in memory; the index objects that it covers,
// with their signers and instances; and what is known of each pack (87 bytes, held in memory). It is named for the index objects that
// it covers. Nothing in it depends on the log: whose word counts, which packs are pruned and which are reported damaged is decided when
// it is opened, by the log as it then is.
//
// A night's index objects make a small table. Tables are merged once the smaller ones have a quarter of a larger one's entries, and
// leave out then what a prune has taken away. Several processes may do so at once: tables are never changed, only replaced, and
// whoever has one open reads on. One that is not what was written is removed and made anew from the store, as is one that is lost.
// Where the cache can't be written a temporary file takes its place, or memory.
package index
