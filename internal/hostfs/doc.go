// Package hostfs opens files on a host where one user is not to be trusted.
//
// Permafrost runs as root beside Mastodon's own user, who owns directories that it reads and writes, and names files in his
// settings. Nothing that he does there may lead root to what he could not reach himself. Three tools do that:
//
//   - OpenBeneath opens a path below a directory that is open, and follows no symbolic link.
//   - User.Do does something with a user's own rights: a path that he chose leads him no farther than it leads him anyway.
//     User.ReadFile reads a file that he names: a regular one, bounded in size and in time.
//   - Walk follows a path from the root directory, and tells which users could have decided where it leads.
//
// Linux only.
package hostfs
