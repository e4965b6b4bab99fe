// Package machine keeps what this machine remembers of a repository, in two directories, which may both be absent.
//
// # State
//
// State must not be lost lightly. Below a directory of the first 16 hexadecimal digits of the repository's ID:
//
//	head              the newest log entry that was seen; its bytes are the caller's
//	fingerprint       the one that the repository's keys must have, and a line's end
//	keys/9a0b….age    copies of the keyrings that the list of keys names
//	journal-INSTANCE  packs that a run has uploaded and no index object covers yet: see [Journal]
//	verified          which packs were read and found right: see [Verified]
//	run-INSTANCE      is locked by a run
//	lock-INSTANCE     is locked by a snapshot
//
// An instance whose name is no file's is named by the SHA-256 of it.
//
// # Cache
//
// The cache can be had again. Below a directory of the same name:
//
//	index/cd34…, manifests/ef56…  copies of immutable objects
//	log-0123456789abcdef          entries of the log that one keyring has opened
//	tables/                       the local index
//
// What others keep for this repository alone, as sketches, lies beside it.
//
// # Journal
//
// A record for each pack:
//
//	0  4  length of what follows the first 8 bytes, little-endian as all here
//	4  4  CRC-32C of that
//	8     the pack as an index object has it
//
// What lies behind the last whole record was being written when a process died. It is cut off.
//
// # Verified packs
//
// A record of 45 bytes for each pack that was read:
//
//	 0  32  name
//	32   8  time, in seconds since 1970, signed
//	40   1  1: it was decrypted and all of it verified; 0: only its hash was compared
//	41   4  CRC-32C of these
//
// The last record of a pack counts. One that is torn or flipped is passed over, and costs a reading. So does what a second
// check beside this one remembers.
package machine
