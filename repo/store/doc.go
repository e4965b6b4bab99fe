// Package store says what a repository asks of its storage, and which names its objects have.
//
// A storage is a Store: a flat namespace of immutable objects with five operations. A Store for a directory, one for an SFTP server and
// one in memory pass the same suite. A Witness looks whether a storage has done what it has reported, and Limit slows one down.
//
// An object's name tells its Kind and, of most kinds, the SHA-256 of its content:
//
//	config              the repository's ID and format, in the clear
//	reserve             1 MiB that a full storage is pruned with
//	leases/9a0b…        who is at work now, by a random ID
//	keys/9a0b….age      a wrapped keyring
//	packs/ab/ab12…      blobs
//	index/cd34…         which pack holds which blob
//	manifests/ef56…     a snapshot's manifest
//	log/0000000042      a log entry
//	tmp/…               the store's own: uploads under way
//
// Kinds, Object and Parse are the one place where that is written: whatever Parse takes for None is no object of a
// repository, and nothing leads to it. Names of other forms may stand on a storage, and are left to whoever lists them.
//
// This package knows nothing of keys and of what objects hold, so that a machine without any can serve and scrub a repository.
package store
