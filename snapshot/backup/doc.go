// Package backup makes snapshots of a Mastodon instance: Create does.
//
// A file of the media that looks unchanged is not read: its content is that of this key's last snapshot. A stream is matched with the
// one of the last snapshot twice. A chunk that is stored is referenced. Of a chunk that is not, the pieces that the last stream had are
// referenced, by a sketch of it, and the rest is stored.
//
// Sketches lie in the cache directory, are derived, and may be deleted: without them a snapshot takes more space, and nothing else is
// different. One that is damaged, or of another repository, is not believed.
//
// Nothing is committed before all of it is stored, so that a run may end anywhere. The next one finds what it has stored.
package backup
