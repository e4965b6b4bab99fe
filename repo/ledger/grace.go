package ledger

import "time"

// Grace is how old, by the storage's clock, what no log entry names must be before it is taken for left
// over. It need not be longer than the longest run: one whose packs are pruned notices, and fails. It is a part of the
// protocol: what is younger a run takes for its own, whatever the prune of another instance's writer has named.
const Grace = 72 * time.Hour
