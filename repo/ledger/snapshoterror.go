package ledger

import (
	"fmt"
	"strconv"
)

// A SnapshotError says what is wrong with a snapshot.
type SnapshotError struct {
	Ref SnapshotRef
	Err error
}

func (e *SnapshotError) Error() string {
	date := strconv.QuoteToASCII(e.Ref.Date) // a writer's word
	return fmt.Sprintf("snapshot %s of %s: %v", e.Ref.ID.Short(), date[1:len(date)-1], e.Err)
}
func (e *SnapshotError) Unwrap() error { return e.Err }
