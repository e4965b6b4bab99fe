package restore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"permafrost/internal/hostfs"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/restore/internal/resume"
	"permafrost/source/media"
)

// A restored stream is one that has a file of its own in the target.
type restoredStream struct {
	*snapshot.Stream
	component string
	name      string               // of its file
	secret    *snapshot.SecretFile // that it is; nil if it is none
}

// streamsOf returns the streams of the components that are wanted, in the order in which they are restored.
func streamsOf(m *snapshot.Manifest, want map[string]bool) (all []restoredStream) {
	if want["secrets"] {
		for i := range m.Secrets.Files {
			f := &m.Secrets.Files[i]
			all = append(all, restoredStream{&f.Stream, "secrets", secretName(m, i), f})
		}
	}
	if want["redis"] {
		for name, r := range m.Redises {
			if r.State == snapshot.Captured {
				all = append(all, restoredStream{&r.Stream, "redis", redisFile(name), nil})
			}
		}
	}
	if want["postgres"] && m.Postgres.State == snapshot.Captured {
		all = append(all, restoredStream{&m.Postgres.Stream, "postgres", dumpFile(m), nil})
	}
	return all
}

// streams restores a component that consists of streams.
func (rs *restorer) streams(component string) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, s := range streamsOf(rs.m, map[string]bool{component: true}) {
			if err := rs.stream(ctx, &s); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		return nil
	}
}

// stream restores a stream to a file, which bears its name only once all of it is there and is what it was. A file that
// is there and is that stays.
func (rs *restorer) stream(ctx context.Context, s *restoredStream) error {
	stays, err := rs.stays(ctx, s)
	if err != nil {
		return err
	}
	if stays {
		rs.Progress.Add(s.component, 1, 0)
		return nil
	}
	var reading error
	err = rs.dir.in(s.name, func(dir *hostfs.Dir, base string) error {
		write := func(f *os.File) error {
			reading = rs.content(ctx, s, f)
			if reading != nil || s.secret == nil {
				return reading
			}
			return errors.Join(f.Chmod(restoredMode(s.secret)), hostfs.SetMTime(f, s.secret.MTime))
		}
		if s.secret != nil {
			return dir.Replace(base, write)
		}
		return dir.Continue(base, write, func(err error) bool { return !fault.IsDamage(err) && !media.Refuses(err) })
	})
	if err != nil && (reading == nil || fault.IsOfTarget(reading)) {
		return rs.settle(s.name, err)
	}
	if err != nil {
		return err
	}
	rs.Progress.Add(s.component, 1, 0)
	return nil
}

// restoredMode is what a secret's file is like in the target. What the file allowed to others on the host is for RESTORE.md's commands
// to give back, not for this directory.
func restoredMode(f *snapshot.SecretFile) fs.FileMode { return fs.FileMode(f.Mode&0o700 | 0o400) }

// settle takes the error of writing a file of the target: what the target refuses is noted, and no error.
func (rs *restorer) settle(name string, err error) error {
	if !media.Refuses(err) {
		return fault.OfTarget(err)
	}
	rs.refuse(name, err)
	return nil
}

// refuse notes a file that the target does not take, and names it.
func (rs *restorer) refuse(name string, err error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.out.Refused++; len(rs.out.RefusedList) < maxListed {
		rs.out.RefusedList = append(rs.out.RefusedList, snapshot.LeftOut{Path: snapshot.Text(name), Reason: snapshot.Reason(err)})
		rs.Warn(fmt.Errorf("%s was left out, because the target refuses it: %s", name, snapshot.Reason(err)))
	}
}

// content writes a stream to a file that may have a part of it.
func (rs *restorer) content(ctx context.Context, s *restoredStream, f *os.File) error {
	return resume.Stream(ctx, rs.rd, s.Stream, f,
		func(n int64) {
			rs.kept.Add(n)
			rs.Progress.Add(s.component, 0, n)
		},
		func(n int64) {
			rs.size.Add(n)
			rs.Progress.Add(s.component, 0, n)
		})
}

// stays reports whether a stream's file is there already, or is not to be touched.
func (rs *restorer) stays(ctx context.Context, s *restoredStream) (bool, error) {
	info, err := rs.dir.stat(s.name)
	if err != nil {
		return false, nil
	}
	whole := info.Mode().IsRegular() && info.Size() == s.Size && rs.dir.private(info, s.secret)
	if whole {
		if whole, err = rs.dir.isStream(ctx, s); err != nil {
			return false, err
		}
	}
	switch {
	case whole:
		rs.kept.Add(s.Size)
	case rs.overwrite == Never:
		rs.Warn(fmt.Errorf("%s differs from the snapshot's and stays, since nothing is to be overwritten", s.name))
	default:
		return false, nil
	}
	rs.Progress.Add(s.component, 0, s.Size)
	return true, nil
}
