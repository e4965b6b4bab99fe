// Package ledger is what the log of a repository says: its entries, who may say what, and what they add up to.
//
// An [Entry] is one signed statement. A [History] takes entries in their order and heeds what their signers may say; it does no I/O,
// so that the same entries give the same history on every machine. Its parts are values of their own: the [Roster] says who may sign,
// [Epochs] which keys are in use, [Snapshots] what was committed and what became of it, an [IndexList] which index objects count. A
// [Scope] is what a signer speaks for. Where an entry is missing that later ones build on, the history has a [Break]. [Remembered] is how
// far a machine has seen a log: [History.Lacks] tells whether another log has lost something of it.
//
// # Entry
//
// An envelope of JSON: see [Entry]. An entry names the valid entry before it by number and hash, and what it builds on (see
// Basis). It says one thing: a snapshot is committed, snapshots are forgotten, confirmed (or a confirmation is taken back),
// objects are pruned, packs are reported damaged, the list of keys or the epoch is a new one, damage to the log is accepted. What announces an
// epoch has its keys: wrapped keyrings, as below keys/, of all on the list.
//
// The JSON has one form: members in the order of Entry's fields, each once and in lower case, no room, strings and numbers as
// Go's encoding/json writes them. Any other, with unknown members among it, is refused.
//
// It stands under the first number behind the entry before it that was free: what is no entry may stand between them, and has to
// stay. An entry that continues from the last one above a free number is none, nor is one above more than 100, where
// entries were lost. Where an owner accepts that, something is put under these numbers first (see store.Filler), which is no entry
// either and no damage.
//
// A snapshot's ID is the SHA-256 of "permafrost snapshot 1\n", the manifest's name (32 bytes), the verify key of the entry's
// signer (32 bytes) and the instance. A manifest may be named by several entries; it is the snapshot's whose signer signed it.
//
// A snapshot's entry says what the snapshot has of each component (Holding), so that what is thought of it depends on the log
// alone. Entries that forget, prune or confirm may hold records: which snapshots of an instance, up to which entry, have times
// that can't be. The storage's times are lost where a repository is copied; what is recorded is not judged anew. An owner may
// confirm and record, and a writer that may forget, for its own instance.
package ledger
