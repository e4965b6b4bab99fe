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
// JSON: see Manifest. What a link leads to that was followed is listed under the link's path, as a file or a directory. Each component has a state: captured; external, where media are in object storage; skipped, where a
// setting leaves it out; failed, with the reason. One that is not captured has no content, but for secrets: where one of the
// named files could not be read they have failed, and hold .env.production all the same. A snapshot has the database or media. The rows and bytes of each table are counted as the dump passes, exactly (package
// postgres has how); of the secrets that Mastodon's set-up generated there are keyed hashes, by which the next night tells that one
// has changed. Names that need not be UTF-8 are strings where they are, and else {"base64": "..."}. Members that a
// reader doesn't know are passed over.
package snapshot
