package source

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"permafrost/internal/hostfs"
)

// identify finds out which user Mastodon runs as, and whether this process has to act as that user.
//
// The owner of the live directory is that user, unless others could put a directory of that user's in its place. Root is nobody to be guessed: whoever may put a directory of root's in the live
// directory's place would have the settings of his choice read with root's rights.
func (inst *Instance) identify(live *hostfs.Place, osUser string) error {
	owner := live.Info.Sys().(*syscall.Stat_t)
	var u *hostfs.User
	var err error
	if osUser == "" {
		u, err = hostfs.LookupUID(owner.Uid, owner.Gid)
	} else {
		u, err = hostfs.LookupUser(osUser)
	}
	if err != nil {
		return Because(CauseUserUnclear, fmt.Errorf("finding Mastodon's user: %w", err))
	}
	if inst.OSUser = u.Name; u.Name == "" {
		inst.OSUser = strconv.FormatUint(uint64(u.UID), 10)
	}
	me := os.Geteuid()
	switch {
	case me != 0 && osUser != "" && int(u.UID) != me:
		return Because(CauseNotRoot, fmt.Errorf("only root can act as %v", u))
	case me != 0:
		return nil
	case u.UID != 0 && osUser == "" && !live.Trust.Only(u.UID):
		return Because(CauseUserUnclear, fmt.Errorf("others than %v could put %s where it is: %s", u, inst.Dir, live.Trust.Reason()))
	case u.UID != 0:
		inst.User = u
		return nil
	case !live.Trust.Root():
		return Because(CauseUserUnclear, fmt.Errorf("root does not act for the Mastodon in %s by itself: %s", inst.Dir, live.Trust.Reason()))
	}
	return nil
}
