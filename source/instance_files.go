package source

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"

	"permafrost/internal/hostfs"
)

// settingsName is that of Mastodon's settings file in the live directory. It alone must be there.
const settingsName = ".env.production"

// settingsNames are the files that dotenv's Rails part loads in production, in its order: what the first has of a variable
// counts.
func settingsNames() []string {
	return []string{".env.production.local", ".env.local", settingsName, ".env"}
}

// An EnvFile is a settings file as it is, byte for byte, with its attributes.
type EnvFile struct {
	Path  string // absolute
	Data  []byte
	Mode  uint32 // permission bits with setuid, setgid and sticky: 07777
	UID   uint32
	GID   uint32
	MTime int64 // nanoseconds since 1970
}

// readFiles reads the settings files, with the rights of Mastodon's user, and what they say. An environment that Mastodon runs
// with stands for that.
func (inst *Instance) readFiles(live *hostfs.Place, environment map[string]string) (*environ, error) {
	env := newEnviron()
	for _, name := range settingsNames() {
		f, err := inst.readFile(live, name)
		if err == nil {
			err = inst.checkOwner(live, f)
		}
		if name != settingsName && f == nil && inst.passesOver(name, err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		called := name
		if name == settingsName {
			inst.Env, inst.Mode, inst.UID, inst.GID, inst.MTime = f.Data, f.Mode, f.UID, f.GID, f.MTime
			called = ""
		} else {
			inst.Others = append(inst.Others, *f)
		}
		if environment != nil {
			continue // what Mastodon runs with is known
		}
		if err := env.parse(called, f.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	inst.Warnings = append(inst.Warnings, env.warnings...)
	maps.Copy(env.values, environment)
	return env, nil
}

// passesOver reports whether a settings file that could not be read is none, or one that changes nothing that another says.
func (inst *Instance) passesOver(name string, err error) bool {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case errors.Is(err, hostfs.ErrNotRegular):
		inst.Warnings = append(inst.Warnings, name+" in the live directory is no regular file: it is not read")
		return true
	case errors.Is(err, fs.ErrPermission) && name == ".env":
		inst.Warnings = append(inst.Warnings, "Mastodon's user can't read .env in the live directory: the file is not stored, and its settings are not known")
		return true
	}
	return false
}

// readFile reads a settings file, a regular one or a symbolic link to one.
func (inst *Instance) readFile(live *hostfs.Place, name string) (*EnvFile, error) {
	path := filepath.Join(inst.Dir, name)
	var data []byte
	var info fs.FileInfo
	var err error
	if inst.User == nil {
		// Where this is root, the directory is root's alone, and so is the way to it.
		data, info, err = hostfs.ReadFile(path, maxEnv)
	} else {
		data, info, err = live.ReadBelow(inst.User, name, maxEnv)
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = &fs.PathError{Op: pe.Op, Path: path, Err: pe.Err}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, Because(CauseNoSettings, fmt.Errorf("reading the settings: %w", err))
	case errors.Is(err, fs.ErrPermission) && inst.User != nil:
		return nil, Because(CauseSettingsOfUser, fmt.Errorf("reading the settings as %v: %w", inst.User, err))
	case errors.Is(err, fs.ErrPermission):
		return nil, Because(CauseSettingsDenied, fmt.Errorf("reading the settings: %w", err))
	case errors.Is(err, hostfs.ErrTooLarge):
		return nil, fmt.Errorf("%s is larger than %d bytes: it can't be a settings file", path, maxEnv)
	case err != nil:
		return nil, fmt.Errorf("reading the settings: %w", err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return &EnvFile{Path: path, Data: data, Mode: uint32(st.Mode) & 07777, UID: st.Uid, GID: st.Gid, MTime: info.ModTime().UnixNano()}, nil
}

// checkOwner makes sure that nobody else has written what root is going to obey as Mastodon's user. The file is read by then:
// its owner could have changed it at any time before.
func (inst *Instance) checkOwner(live *hostfs.Place, f *EnvFile) error {
	if os.Geteuid() != 0 {
		return nil
	}
	mayWrite := map[uint32]bool{0: true}
	if inst.User != nil {
		mayWrite[inst.User.UID], mayWrite[live.Info.Sys().(*syscall.Stat_t).Uid] = true, true
	}
	if !mayWrite[f.UID] {
		owner, err := hostfs.LookupUID(f.UID, f.GID)
		if err != nil {
			return err
		}
		return Because(CauseSettingsOwner, fmt.Errorf("%s belongs to %v, who is neither root nor the owner of %s", f.Path, owner, inst.Dir))
	}
	if f.Mode&syscall.S_IWOTH != 0 || inst.User == nil && f.Mode&syscall.S_IWGRP != 0 && f.GID != 0 {
		return Because(CauseSettingsWritable, fmt.Errorf("users other than its owner may write %s", f.Path), f.Path)
	}
	return nil
}
