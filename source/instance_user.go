package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
)

// settingsName is that of Mastodon's settings file in the live directory.
const settingsName = ".env.production"

// sayUser is what to do where it is not clear whose rights count.
const sayUser = "say with --user NAME which user Mastodon runs as (a number will do)"

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
		return hint.Wrap(fmt.Errorf("finding Mastodon's user: %w", err), sayUser)
	}
	if inst.OSUser = u.Name; u.Name == "" {
		inst.OSUser = strconv.FormatUint(uint64(u.UID), 10)
	}
	me := os.Geteuid()
	switch {
	case me != 0 && osUser != "" && int(u.UID) != me:
		return hint.Wrap(fmt.Errorf("only root can act as %v", u), "run permafrost as root, or as that user and without --user")
	case me != 0:
		return nil
	case u.UID != 0 && osUser == "" && !live.Trust.Only(u.UID):
		return hint.Wrap(fmt.Errorf("others than %v could put %s where it is: %s", u, inst.Dir, live.Trust.Reason()), sayUser)
	case u.UID != 0:
		inst.User = u
		return nil
	case !live.Trust.Root():
		return hint.Wrap(fmt.Errorf("root does not act for the Mastodon in %s by itself: %s", inst.Dir, live.Trust.Reason()), sayUser)
	}
	return nil
}

// readEnv reads .env.production, a regular file or a symbolic link to one, with the rights of Mastodon's user.
func (inst *Instance) readEnv(live *hostfs.Place) (err error) {
	var info fs.FileInfo
	if inst.User == nil {
		// Where this is root, the directory is root's alone, and so is the way to it.
		inst.Env, info, err = hostfs.ReadFile(inst.EnvPath, maxEnv)
	} else {
		inst.Env, info, err = live.ReadBelow(inst.User, settingsName, maxEnv)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = &fs.PathError{Op: pe.Op, Path: inst.EnvPath, Err: pe.Err}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hint.Wrap(fmt.Errorf("reading the settings: %w", err), "--live names the directory that holds Mastodon's .env.production")
	case errors.Is(err, fs.ErrPermission) && inst.User != nil:
		return hint.Wrap(fmt.Errorf("reading the settings as %v: %w", inst.User, err), "Mastodon's own user must be able to read them: chown or chmod the file; or "+sayUser)
	case errors.Is(err, fs.ErrPermission):
		return hint.Wrap(fmt.Errorf("reading the settings: %w", err), "run permafrost as root, or as the user that owns the file")
	case errors.Is(err, hostfs.ErrTooLarge):
		return fmt.Errorf("%s is larger than %d bytes: it can't be a settings file", inst.EnvPath, maxEnv)
	case err != nil:
		return fmt.Errorf("reading the settings: %w", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	inst.Mode, inst.UID, inst.GID = uint32(st.Mode)&07777, st.Uid, st.Gid
	inst.MTime = info.ModTime().UnixNano()
	return inst.checkEnvOwner(live)
}

// checkEnvOwner makes sure that nobody else has written what root is going to obey as Mastodon's user. The file is read by then:
// its owner could have changed it at any time before.
func (inst *Instance) checkEnvOwner(live *hostfs.Place) error {
	if os.Geteuid() != 0 {
		return nil
	}
	mayWrite := map[uint32]bool{0: true}
	if inst.User != nil {
		mayWrite[inst.User.UID], mayWrite[live.Info.Sys().(*syscall.Stat_t).Uid] = true, true
	}
	if !mayWrite[inst.UID] {
		owner, err := hostfs.LookupUID(inst.UID, inst.GID)
		if err != nil {
			return err
		}
		return hint.Wrap(fmt.Errorf("%s belongs to %v, who is neither root nor the owner of %s", inst.EnvPath, owner, inst.Dir),
			"chown the file to the user that Mastodon runs as; or "+sayUser)
	}
	if inst.Mode&syscall.S_IWOTH != 0 || inst.User == nil && inst.Mode&syscall.S_IWGRP != 0 && inst.GID != 0 {
		return hint.Wrap(fmt.Errorf("users other than its owner may write %s", inst.EnvPath), "chmod go-w "+inst.EnvPath)
	}
	return nil
}

// findOverrides warns of settings files that are not read.
func (inst *Instance) findOverrides(live *hostfs.Place) {
	for _, name := range []string{".env.production.local", ".env.local"} {
		_, err := hostfs.InTime(func() (info fs.FileInfo, err error) {
			err = inst.User.Do(func() error {
				info, err = os.Lstat(live.Below(name))
				return err
			})
			return info, err
		})
		if err == nil {
			inst.Warnings = append(inst.Warnings, name+" exists too: Mastodon lets it override the settings, permafrost does not read it")
		}
	}
}
