package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"permafrost/internal/hostfs"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/sums"
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
	err = rs.file(s.name, func(dir *hostfs.Dir, base string) error {
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
		return dir.Continue(base, write, func(err error) bool { return !isDamaged(err) && !media.Refuses(err) })
	})
	var local *writeError
	if err != nil && (reading == nil || errors.As(reading, &local)) {
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

// content writes a stream to a file that may have a part of it.
func (rs *restorer) content(ctx context.Context, s *restoredStream, f *os.File) error {
	return continueStream(ctx, rs.rd, s.Stream, f,
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
	info, err := rs.stat(s.name)
	if err != nil {
		return false, nil
	}
	whole := info.Mode().IsRegular() && info.Size() == s.Size && rs.private(info, s.secret)
	if whole {
		if whole, err = rs.isStream(ctx, s); err != nil {
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

// private reports whether nobody else can change a file, and a secret is like its restore.
func (rs *restorer) private(info fs.FileInfo, secret *snapshot.SecretFile) bool {
	if secret != nil && (info.Mode().Perm() != restoredMode(secret) || info.ModTime().UnixNano() != secret.MTime) {
		return false
	}
	return rs.dir.Own(info)
}

// isStream reports whether a file holds a stream.
func (rs *restorer) isStream(ctx context.Context, s *restoredStream) (same bool, err error) {
	rs.file(s.name, func(dir *hostfs.Dir, base string) error {
		f, err := dir.OpenFile(base, os.O_RDONLY)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		_, err = io.Copy(h, &untilDone{ctx, io.LimitReader(f, s.Size+1)})
		same = err == nil && snapshot.SHA256(h.Sum(nil)) == s.SHA256
		return err
	})
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return same, nil // what can't be read is not there
}

// An untilDone is a reader that ends with its context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}

// stat looks at a file of the target.
func (rs *restorer) stat(name string) (info fs.FileInfo, err error) {
	dir, base := rs.dir, name
	if dir == nil {
		return nil, fs.ErrNotExist
	}
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		if dir, err = dir.Open(name[:i]); err != nil {
			return nil, err
		}
		defer dir.Close()
		base = name[i+1:]
	}
	return dir.Lstat(base)
}

// file calls f with the directory that a file of the target is in, which is made where it is missing, and the name there.
func (rs *restorer) file(name string, f func(dir *hostfs.Dir, base string) error) error {
	below, base := path.Split(name)
	if below == "" {
		return f(rs.dir, base)
	}
	dir, err := rs.dir.Make(path.Clean(below))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir, base)
}

// sums returns SHA256SUMS: a line for each stream that is there.
func (rs *restorer) sums(there map[string]bool) []byte {
	var b bytes.Buffer
	for _, s := range streamsOf(rs.m, there) {
		if info, err := rs.stat(s.name); err == nil && info.Mode().IsRegular() {
			fmt.Fprintf(&b, "%s\n", sums.Line(s.SHA256, s.name))
		}
	}
	return b.Bytes()
}

// small writes a file of this program's own.
func (rs *restorer) small(name string, data []byte) error {
	err := rs.file(name, func(dir *hostfs.Dir, base string) error {
		return dir.Replace(base, func(f *os.File) error {
			_, err := f.Write(data)
			return err
		})
	})
	if err != nil {
		return &writeError{err}
	}
	return nil
}
