// Package upkeep keeps a repository in order: it checks, forgets, prunes and repairs.
//
// [Check] compares what is stored with what the log and the index say, and with what each snapshot needs. [Prune] deletes what no
// snapshot needs: it surveys the storage, marks what is needed, plans without I/O, rewrites, publishes one entry, and only then deletes.
// [RepairIndex] and [RepairPacks] save what is left of a damaged repository, and go the same last steps as a prune. [Forget] takes
// snapshots off the list, on a full storage too.
//
// None of these knows what a snapshot consists of: an [inspection.Inspector] tells.
package upkeep
