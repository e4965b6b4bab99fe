package redis

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"permafrost/internal/escape"
	"permafrost/source"
)

// lastShared is the last version that Redis and Valkey have in common. Valkey reads no later one of Redis', and Redis none of
// Valkey's: it looks for its own magic.
const lastShared = 11

// comeAndGo are kinds of keys that Sidekiq has at some moments, and that a dump may so lack.
var comeAndGo = []string{"queue", "queues", "schedule", "retry", "dead", "processes", "stat", "cron_job", "cron_jobs", "uniquejobs"}

// ReadableBy returns an error where a server that has saved the RDB own can't read c. A server that tries loses what it had.
func (c *Contents) ReadableBy(own *Contents) error {
	readable := c.Magic == own.Magic && c.Version <= own.Version ||
		c.Magic == "REDIS" && own.Magic == "VALKEY" && c.Version <= lastShared
	if readable {
		return nil
	}
	return source.Because(CauseNewerDump, fmt.Errorf("the dump is an RDB of version %s %d, and the server reads none above %s %d", c.Magic, c.Version, own.Magic, own.Version))
}

// Replaces returns an error where a server with the contents own would lose what c has nothing like: another database, or keys
// that never expire of a kind that c has not. Loading an RDB replaces all that a server has.
func (c *Contents) Replaces(own *Contents) error {
	if err := c.replaces(own); err != nil {
		return source.Because(CauseReplaced, err)
	}
	return nil
}

func (c *Contents) replaces(own *Contents) error {
	if own.Databases == nil {
		return fmt.Errorf("what the server has can't be compared with the dump: %s", own.Uncounted)
	}
	for _, db := range slices.Sorted(maps.Keys(own.Databases)) {
		theirs := own.Databases[db]
		ours := c.Databases[db]
		switch {
		case theirs.Keys == 0:
		case ours == nil && c.Databases != nil:
			return fmt.Errorf("the server has %d keys in database %d, and the dump has none there: all would be lost", theirs.Keys, db)
		case ours == nil:
			return fmt.Errorf("the server has %d keys in database %d, and what the dump has there can't be told: %s", theirs.Keys, db, c.Uncounted)
		}
		if names := ours.lacks(theirs); len(names) > 0 {
			return fmt.Errorf("the server has keys in database %d that are no Mastodon's of this dump: all would be lost. They begin with %s", db, strings.Join(names, ", "))
		}
	}
	return nil
}

// lacks returns some kinds of keys of which others has lasting ones and d has none.
func (d *Database) lacks(others *Database) (names []string) {
	const some = 5
	for _, name := range slices.Sorted(maps.Keys(others.kinds)) {
		if others.kinds[name].stays == 0 || d.kinds[name] != nil || slices.Contains(comeAndGo, name) {
			continue
		}
		if len(names) == some {
			return append(names, "…")
		}
		names = append(names, escape.Name(name))
	}
	return names
}

// Lines returns what a shell wants to know of an RDB, a line each: its version, whether it has a checksum, and for each database how
// many keys it has and how many of them expire.
//
//	version 11
//	checksum yes
//	db0:keys=1006,expires=506
//
// The last are written as INFO writes them. Where they can't be told there is the line "uncounted" with the reason.
func (c *Contents) Lines() []string {
	lines := []string{fmt.Sprintf("version %d", c.Version), "checksum " + map[bool]string{true: "yes", false: "no"}[c.Checksum]}
	if c.Databases == nil {
		return append(lines, "uncounted "+c.Uncounted)
	}
	for _, n := range slices.Sorted(maps.Keys(c.Databases)) {
		d := c.Databases[n]
		lines = append(lines, fmt.Sprintf("db%d:keys=%d,expires=%d", n, d.Keys, d.Expires))
	}
	return lines
}
