package snapshot

import "permafrost/source"

// Causes why a part of a snapshot can't be had.
const (
	CauseElsewhere      source.Cause = "snapshot: elsewhere"       // it lacks the part; the facts: another snapshot's ID and date, which has it
	CauseNowhere        source.Cause = "snapshot: nowhere"         // it lacks the part, as do all others; the fact: the instance
	CauseNoSidekiq      source.Cause = "snapshot: no Sidekiq"      // Sidekiq had no Redis of its own
	CauseSeveralSecrets source.Cause = "snapshot: several secrets" // more than one has the name
)
