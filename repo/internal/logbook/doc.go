// Package logbook keeps the log in a storage: it reads it, follows it, and adds to it.
//
// A [Log] is what [ledger.History] says, as far as it was read. [Log.ReadLog] takes the whole log, and the entries that this machine has
// opened before from its cache. [Log.Publish] adds one entry behind all others: who publishes entry N has heeded every entry below N.
// What this machine remembers of the log, and what an owner accepts of its damage, is here too.
package logbook
