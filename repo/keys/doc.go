// Package keys holds what opens a repository and what signs for it.
//
// A [Keyring] is what one person or host has: the keys of every epoch, and a signing key of its own. An owner's opens everything; a
// writer's adds snapshots and can't read their content back. A keyring lies in a key file ([WriteFile], [ParseFile], [LoadIdentity])
// or, wrapped to a recipient whom its holder brought ([ParseRecipient], [Wrap], [Unwrap]), in the repository. Whoever has the
// [Keyring.Fingerprint] on paper can tell the genuine keyring from a forged one.
//
// What is signed goes into an envelope ([Keyring.Seal], [Keyring.Unseal]). Content is encrypted elsewhere, to an [Epoch]'s recipients.
//
// No keyring shows its secrets to fmt, to an encoder or to a log.
//
// # Envelope
//
// An envelope is an age file to the meta recipient of the epoch in use, whose plaintext is
//
//	 0   8  magic: "PFINDEX" "PFMANIF" "PFLOGEN" or "PFLEASE" and the version byte 1
//	 8  32  the signer's Ed25519 verify key
//	40  64  Ed25519 signature over "permafrost envelope 1\n", the repository ID, the magic and the body
//	104     body
//
// The signature names the repository and the kind, so that nothing signed for one place can stand in another.
// An age file alone says nothing of who wrote it. These 104 bytes are the same in every version: a newer version counts
// for as much as its signer.
//
// # Key file
//
// What a person or a host keeps of a repository's keys: UTF-8 text of at most 64 KiB, which is an age identity file too.
// This one, of an owner, is shortened where it says "…":
//
//	# permafrost recovery file. It opens every snapshot of the repository, and may delete them.
//	# Keep it off the host that is backed up, in a safe place or two: without it nothing can be restored.
//	# …
//	# repository:  608e92841707d084275191dc3c7df6e09d2f46c43f328e3de01667ccd5c71fbf
//	# fingerprint: ijvq-wycv-up5w-xnun-4xjw-a43g-5hb3-vwns
//	# …
//	# data packs, epoch 1:
//	AGE-SECRET-KEY-PQ-1QWAE8V3SGAE65YRFYS2AGZ2WM9UY3R04YMZV6MAKC6U8HKV3CNCSDUSYYT
//	# …
//	# permafrost-keyring-1: {"role":"owner","name":"recovery","repository":"608e9284…5c71fbf","owner_key":"…",…}
//	# permafrost-checksum-1: 0d959c08dd0baab170806a30957eebd57b47fb869a380803ef7177bfc6d7baa1
//
// Two lines make the keyring: "# permafrost-keyring-1: " and one line of JSON, and "# permafrost-checksum-1: " and the
// SHA-256 of that JSON in lower-case hexadecimal. 1 is the version; a newer one is refused. The lines that begin with
// AGE-SECRET-KEY repeat the identities in it for the plain age command, and may be missing; one that the keyring does
// not hold is an error. The rest is comments: a line that does not begin with "#" is none. The members of the JSON:
//
//	role                 "owner" or "writer"
//	name                 on the roster, at most 100 bytes; an update has none
//	repository           64 hexadecimal digits
//	owner_key            the owner's Ed25519 verify key, 32 bytes, in base64 as all bytes here
//	sign_key             seed of the holder's Ed25519 key, an owner's being that of owner_key, 32 bytes; an update has none
//	identity             AGE-SECRET-KEY-PQ-1…, to which later epochs are wrapped; may be missing
//	epochs               1 to 24 of
//	    number           from 1 on, ascending
//	    data_identity    AGE-SECRET-KEY-PQ-1…, in an owner's keyring; in a writer's
//	    data_recipient   age1pq1…, instead
//	    meta_identity    AGE-SECRET-KEY-PQ-1…
//	    data_key         32 bytes
//	    meta_key         32 bytes
//	    fingerprint_key  32 bytes, from which keys for other purposes are derived
//	    polynomial       hexadecimal, irreducible over GF(2), of degree 53
//	    signature        64 bytes, Ed25519 by owner_key over
//
//	  0  19  "permafrost epoch 1\n"
//	 19  32  repository ID
//	 51   4  number, big-endian
//	 55  32  SHA-256 of the data recipient as text, age1pq1…
//	 87  32  SHA-256 of the meta recipient as text
//	119  32  SHA-256 of "permafrost epoch secrets 1\n", data_key, meta_key, fingerprint_key, polynomial (8 bytes, big-endian)
//
// The fingerprint is the first 20 bytes of the SHA-256 of "permafrost fingerprint 1\n", the version byte 1, the owner's
// verify key and these 151 bytes of epoch 1, in lower-case base32, in groups of four.
//
// A key for another purpose is the HKDF-SHA-256 of epoch 1's fingerprint_key, with the repository ID as the salt and the purpose
// as the info: "permafrost index table 1" proves the pages of local tables, "permafrost secret hash 1" hashes secrets.
//
// # Wrapped keyring
//
// An object below keys/, or what the log entry that announces an epoch gives to somebody: an age file to one recipient, of at most
// 64 KiB, whose plaintext is
//
//	0  8  magic: "PFKEYS\x00" and the version byte 1
//	8     JSON as in a key file
//
// Anyone who knows a recipient can wrap something to it. What makes a keyring genuine is the owner's signature on each
// epoch, and the fingerprint that pins the owner.
package keys
