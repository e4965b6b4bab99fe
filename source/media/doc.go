// Package media reads and writes Mastodon's public/system: a Tree is walked for a snapshot, a Target is filled by a
// restore.
//
// A Tree follows a symbolic link below its root only into a directory of Options.Follow. A Target follows none. The kernel
// resolves each path in one openat2 (RESOLVE_NO_SYMLINKS, since Linux 5.6); older kernels take it component by component.
// Measured on a path of nine components: openat2 3 µs, as much as opening a name in a parent that is open already;
// component by component 20 µs; os.Root 24 µs. So no parents are kept open, which would save a restore 1 % of its time,
// and depth costs no descriptors.
//
// A process of root reads a Tree with the rights of the user who owns it. So root reads nothing that this user could not read
// alone, whatever the user does: swap a directory during the walk, link to another user's file, choose the root's path. Only
// regular files and directories are opened.
//
// Names are bytes: newlines and broken UTF-8 are names like any other. Paths longer than PATH_MAX work, up to
// 16 KiB.
//
// # Left out by choice
//
// Excludes of Options takes patterns as package pattern tells them. A directory that matches is left out with all that is in it,
// without being read.
//
// NoCache leaves out what is below cache/: copies of other servers' files, nine tenths of most trees. The database
// still says that they are there, so a restored instance fetches none of them by itself. After such a restore run
//
//	tootctl accounts refresh --all
//	tootctl media refresh --force --days N
//
// where --force is needed for just that reason, and N is how far back it should go. Preview cards and other servers'
// emoji come back, if at all, as new posts bring them.
package media
