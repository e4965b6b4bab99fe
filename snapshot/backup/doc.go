// Package backup makes snapshots of a Mastodon instance: [Create] reads its four components (secrets, PostgreSQL, Redis, media) in an
// order that keeps them consistent, cuts them into blobs, and commits a manifest.
//
// A file of the media that looks unchanged is not read: its content is that of this key's last snapshot. Everything else is
// deduplicated at two levels. A chunk that is stored is referenced. A chunk that is not is cut into pieces; those that the sketch of
// the last snapshot's stream has are referenced, and the rest is stored.
//
// Sketches lie in the cache directory, are derived, and may be deleted: without them a snapshot takes more space, and nothing else is
// different. One that is damaged, or of another repository, is not believed.
//
// Nothing is committed before all of it is stored, so that a run may end anywhere. The next one finds what it has stored.
package backup
