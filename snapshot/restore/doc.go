// Package restore brings a snapshot back: Restore writes its components into a directory, and a Plan is the way from there to a running
// instance.
//
// # The directory
//
// Restore writes env.production, secrets/, DATABASE.dump, redis-dump.rdb and sidekiq-redis-dump.rdb, public-system/, and SHA256SUMS. A
// file has its name only once it is whole and is what it was. The file .permafrost-restore says which snapshot it is of, so that a
// restore which was interrupted goes on.
//
// What is restored was chosen elsewhere, and the directory may be another user's. Nothing is written around it, whatever names and
// links say, and everything in it is written with the rights of whoever could replace it. What lends rights or leads out of the media is
// left out, unless Options.TrustMedia is set.
//
// # The way back
//
// A Plan is the way back from restored files to a running instance, as data.
//
// The plan is steps of bash, which package way describes. RESTORE.md shows them, restore.sh strings them together, and tests run them. Each
// reads host.sh, the only file that holds names of the instance.
//
// The texts are read and run by root, and their names were chosen elsewhere: by whoever wrote the snapshot, and by Mastodon's user,
// who names hosts, roles, databases and files. So names stand in host.sh as quoted words, and in the text as code spans. What a name
// decides is done with the rights of the user whose it is. Where root's rights are needed on a path of the snapshot's, the
// text shows the path and the step looks who could have put something there.
package restore
