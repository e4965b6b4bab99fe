// Package snapshot has what a snapshot of a Mastodon instance is, and reads it.
//
// A Manifest describes one: its four components (secrets, PostgreSQL, Redis, media), the recipes of their streams, and the Listing of
// the media. Load reads it. A Tree is the snapshot as a file system, whose files are read at any offset; Dump writes one part of it;
// Entries and Diff read listings. An Inspector tells the repository what a snapshot needs, and whether it can be put together again.
// Package backup makes snapshots, and package restore brings them back; package retain says which are kept.
//
// Whoever holds a writer's key can write whatever it likes. So nothing that is read here is believed before it is checked: what is
// malformed is an error, as a rule a store.DamageError, and takes no memory that its length does not justify. What a recipe leads to
// may be endless all the same, where somebody made it so: reading it ends with its context.
//
// # Numbers and trees
//
// The blobs of listings and recipes are trees, with numbers, IDs and strings as package stream has them.
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
// JSON: see [Manifest]. It has the database or media, or both.
//
// Each component has a [State]: captured; external, for media in object storage; skipped, by a setting; failed, with the reason; and
// incomplete, for secrets of which one of the named files could not be read. Secrets that are incomplete hold .env.production alone.
// A component that is external, skipped or failed has no content. A link that was followed is listed under its own path, as the file
// or the directory that it leads to.
//
// The rows and bytes of each table are counted exactly, as the dump passes: package postgres has how. Of the secrets that Mastodon's
// set-up generated there are keyed hashes, by which the next night tells that one has changed. A name that is no UTF-8 is an object
// {"base64": "..."} in the place of a string. A reader passes over members that it doesn't know.
package snapshot
