package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"permafrost/internal/escape"
	"permafrost/internal/hostfs"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/source"
	"permafrost/source/media"
)

// open makes the target directory ready: one that nobody else decides about, with nothing in it that is not to be there, and on a disk
// with room.
func (rs *restorer) open(ctx context.Context, want map[string]bool) (err error) {
	if rs.Target == "" {
		return errors.New("no target directory")
	}
	if rs.overwrite = rs.Overwrite; rs.overwrite == "" {
		rs.overwrite = IfChanged
	}
	if rs.choice, err = newChoice(rs.Include, rs.Exclude); err != nil {
		return err
	}
	rs.dir.path = rs.Target
	name, err := absolute(rs.Target)
	if err == nil {
		if rs.Preview == nil {
			rs.dir.Dir, err = hostfs.MakeDir(name)
		} else if rs.dir.Dir, err = hostfs.OpenDir(name); errors.Is(err, fs.ErrNotExist) {
			return nil // all of it would be new
		}
	}
	if err != nil {
		return source.Because(sharedOr(err, CauseTargetShared, CauseTargetUnmade), fmt.Errorf("opening the target directory: %w", err))
	}
	if err := rs.checkTarget(ctx, want); err != nil {
		return err
	}
	if u := rs.dir.User(); u != nil {
		rs.out.Owner = u.String()
		rs.Warn(fmt.Errorf("%v can replace %s: everything is written with that user's rights, and belongs to that user", u, rs.Target))
	}
	return nil
}

// newChoice returns which media are meant.
func newChoice(include, exclude []string) (*choice.Choice, error) {
	return choice.New(include, exclude, [2]string{"the include pattern", "the exclude pattern"})
}

// CheckPatterns returns an error where one of the patterns of Options.Include and Exclude can't be read.
func CheckPatterns(include, exclude []string) error {
	_, err := newChoice(include, exclude)
	return err
}

// close lets go of the target.
func (rs *restorer) close() {
	if rs.mediaDir != nil {
		rs.mediaDir.Close()
	}
	if rs.dir.Dir != nil {
		rs.dir.Close()
	}
}

// absolute returns a path from the root directory to where a path leads from the working directory.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	// The shell's idea of the working directory may lead through symbolic links, which ".." would not lead back through.
	wd, err := unix.Getwd()
	if err != nil {
		return "", fmt.Errorf("the working directory: %w", err)
	}
	return filepath.Join(wd, path), nil
}

// sharedOr returns the first cause of an error which says that others decide about a directory, the second of any other.
func sharedOr(err error, shared, other source.Cause) source.Cause {
	if e := (*hostfs.SharedError)(nil); errors.As(err, &e) {
		return shared
	}
	return other
}

// checkTarget looks whether the target may be written into: it is empty, or holds this snapshot or a part of it, or it was
// said what becomes of what is there.
func (rs *restorer) checkTarget(ctx context.Context, want map[string]bool) error {
	if err := rs.dir.lock(); err != nil {
		return err
	}
	empty, err := rs.dir.Empty()
	if err != nil {
		return err
	}
	if empty {
		return rs.checkRoom(ctx, want)
	}
	if err := rs.inherit(); err != nil {
		return err
	}
	if !rs.state.ours && !rs.Force && rs.Overwrite == "" && !rs.Delete && rs.Preview == nil {
		err := fmt.Errorf("%s is not empty", rs.Target)
		if s := &rs.state; s.Snapshot != "" {
			err = fmt.Errorf("%s holds a restore of snapshot %s of %s", rs.Target, s.Snapshot[:8], escape.Cut(s.Date, 40))
		}
		return source.Because(CauseTargetFull, err)
	}
	if want["media"] && rs.m.Media.State == snapshot.Captured {
		if err := rs.checkMedia(); err != nil {
			return source.Because(sharedOr(err, CauseMediaShared, CauseMediaThere), fmt.Errorf("%s holds %s already: %w", rs.Target, mediaDir, err))
		}
	}
	return rs.checkRoom(ctx, want)
}

// checkMedia opens the directory of the media where there is one. Where it is another user's, this user's rights do the work.
func (rs *restorer) checkMedia() error {
	dir, err := rs.dir.Enter(mediaDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	rs.mediaDir = dir
	if err := dir.Writable(); err != nil && rs.Preview == nil {
		return err
	}
	if u := dir.User(); u != nil && rs.dir.User() == nil {
		rs.Warn(fmt.Errorf("%s in %s belongs to %v: media are written with that user's rights, and belong to that user", mediaDir, rs.Target, u))
	}
	return nil
}

// newTarget returns what media are restored into, and whether nothing was there before.
func (rs *restorer) newTarget() (target *media.Target, fresh bool, err error) {
	dir := rs.mediaDir
	if rs.mediaDir = nil; dir == nil {
		fresh = true
		if dir, err = rs.dir.Make(mediaDir); err != nil {
			return nil, false, err
		}
	}
	empty, err := dir.Empty()
	if err != nil {
		dir.Close()
		return nil, false, err
	}
	target = media.NewTarget(dir, media.TargetOptions{NumericIDs: rs.NumericIDs, Users: rs.m.Users, Groups: rs.m.Groups,
		Owner: rs.m.User, Trusted: rs.TrustMedia,
		Existing: !empty, Replace: !empty && rs.overwrite != Never, Clear: rs.Delete && rs.choice.All(),
		Warn: func(path string, err error) { rs.Warn(fmt.Errorf("%s: %w", path, err)) }})
	if rs.Preview == nil && !fresh {
		err = target.Shut()
	}
	if err != nil {
		target.Close()
		return nil, false, err
	}
	return target, empty, nil
}
