// Package hostfs opens files on a host where one user is not to be trusted.
//
// Permafrost runs as root beside Mastodon's own user. That user owns directories that permafrost reads and writes, and chooses
// files by settings. Root must not reach anything by these that the user could not reach alone. Three tools see to it:
//
//   - OpenBeneath opens a path below a directory that is open, and follows no symbolic link.
//   - User.Do does something with the user's own rights: the user's paths lead no farther than they always do. User.ReadFile
//     reads a regular file with these rights, bounded in size and in time.
//   - Walk follows a path from the root directory, and tells which users could have decided where it leads.
//
// Linux only.
package hostfs
