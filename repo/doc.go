// Package repo keeps snapshots in a store: deduplicated, compressed, encrypted with age, signed, and ordered by one log.
//
// [Init] makes a repository, [Open] opens one with a keyring. A [Writer] makes one snapshot: blobs go in, and Commit publishes them with a
// manifest by one entry of the log. A [Reader] reads blobs and verifies each. [Repo.AddPerson], [Repo.RemovePerson] and [Repo.Rotate]
// change who holds keys. What keeps a repository in order is in package upkeep: [Repo.Core] and [ReaderOf] are there for it and its like.
//
// A snapshot is there once its entry is published, and not a moment before. Whoever publishes an entry has heeded all entries below it.
// What is read was put by somebody on the list of keys, for that instance, or it is an error. A storage that was rolled back is noticed
// by each machine that has seen more.
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
// An envelope of a list of packs and the blobs in them: see [permafrost/repo/internal/index].
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
