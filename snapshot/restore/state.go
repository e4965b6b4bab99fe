package restore

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"permafrost/internal/escape"
	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/source"
)

// stateName is the file that says which snapshot a target is of, and whether all of it is there.
const stateName = ".permafrost-restore"

const (
	stateFormat = 1
	maxState    = 64 << 10 // bytes
)

// A restoreState is what a target says of itself. Where the target is another user's, so is this: nothing is believed for it that is
// not looked at, but that the machine has not crashed.
type restoreState struct {
	Format     int           `json:"permafrost_restore"`
	Snapshot   string        `json:"snapshot"` // its ID
	Instance   snapshot.Text `json:"instance"`
	Date       string        `json:"date"`
	Components []string      `json:"components"` // that were restored, or begun

	Begun    time.Time `json:"begun"` // when the first restore of this snapshot into the target began, to the second
	Finished bool      `json:"finished"`

	// Boot is the boot of the machine in which the restore that is not finished began. Files have their names before they are on
	// disk, so that those of another boot may have lost content in a crash.
	Boot string `json:"boot,omitempty"`

	resumed bool // it was not finished
	ours    bool // it is of the snapshot that is restored now
}

// isID reports whether text is a snapshot's whole ID.
func isID(text string) bool {
	b, err := hex.DecodeString(text)
	return err == nil && len(b) == len(store.Name{})
}

// inherit goes by what the target says of itself: of this snapshot it is gone on with. Another that is not finished is no place to restore into.
func (rs *restorer) inherit() error {
	s, err := rs.dir.readState()
	if err != nil && !rs.Force { // by force the directory is like any other with something in it
		return err
	}
	s.ours = s.Snapshot == rs.ref.ID.String()
	switch {
	case s.ours:
		s.resumed = !s.Finished
	case s.Snapshot != "" && !s.Finished && !rs.Force:
		id := s.Snapshot[:8]
		return source.Because(CauseTargetOther,
			fmt.Errorf("%s holds an unfinished restore of snapshot %s of %s, and this is snapshot %s", rs.Target, id, escape.Cut(s.Date, 40), rs.ref.ID.Short()), id)
	}
	boot := bootID()
	rs.doubt = s.Snapshot != "" && !s.Finished && s.Boot != boot
	if s.Finished || s.Boot == "" {
		s.Boot = boot
	}
	rs.state = s
	return nil
}

// note writes into the target which snapshot it is of, and whether all that is wanted is there.
func (rs *restorer) note(want map[string]bool, finished bool) error {
	s := &rs.state
	all := s.with(want)
	if !s.ours || s.Begun.IsZero() {
		s.Begun = time.Now().UTC().Truncate(time.Second)
	}
	s.Components = nil
	for c, there := range all {
		if there {
			s.Components = append(s.Components, c)
		}
	}
	slices.Sort(s.Components)
	s.Format, s.Snapshot, s.Instance, s.Date, s.Finished = stateFormat, rs.ref.ID.String(), snapshot.Text(rs.m.Instance), rs.m.Date, finished
	s.ours = true
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return rs.dir.put(stateName, append(data, '\n'))
}

// with returns the components of this snapshot that the target has or is to have.
func (s *restoreState) with(want map[string]bool) map[string]bool {
	all := make(map[string]bool)
	for c, wanted := range want {
		all[c] = wanted || s.ours && slices.Contains(s.Components, c)
	}
	return all
}

// bootID names the time since the machine was started; "" where the kernel does not tell.
func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
