package sftpstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"
)

// Stat tells of a file. Some servers answer "failure" where there is none, or whenever they are asked: then the directory
// that it is in is read.
func (s *session) Stat(name string) (fs.FileInfo, error) {
	info, err := s.Client.Stat(name)
	if status := (*sftp.StatusError)(nil); errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxFailure {
		return s.statByList(name, err)
	}
	return info, err
}

// statByList finds a file in the listing of its directory. Where that can't be had it returns what stat's answer was.
func (s *session) statByList(name string, answer error) (fs.FileInfo, error) {
	dir, base := path.Split(path.Clean(name))
	if dir = path.Clean(dir); base == "" || dir == name {
		return nil, answer
	}
	var found *fileInfo
	err := s.eachName(context.Background(), dir, func(n string, a attributes) error {
		if n == base {
			found = &fileInfo{base, a}
		}
		return nil
	})
	switch {
	case found != nil:
		if found.mode&typeMask == 0 {
			isDir, err := s.isDir(context.Background(), name)
			if err != nil {
				return nil, err
			}
			found.mode |= map[bool]uint32{true: typeDir, false: typeRegular}[isDir]
		}
		return found, nil
	case s.lost(err):
		return nil, err
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	}
	if _, err := s.statByList(dir, answer); errors.Is(err, fs.ErrNotExist) {
		return nil, fs.ErrNotExist
	}
	return nil, answer
}

// A fileInfo is a file as a listing has it.
type fileInfo struct {
	name string
	attributes
}

func (f *fileInfo) Name() string       { return f.name }
func (f *fileInfo) Size() int64        { return int64(f.size) }
func (f *fileInfo) ModTime() time.Time { return time.Unix(int64(f.modified), 0) }
func (f *fileInfo) IsDir() bool        { return f.mode&typeMask == typeDir }
func (f *fileInfo) Sys() any           { return nil }

// Mode implements fs.FileInfo. Only the type matters here.
func (f *fileInfo) Mode() fs.FileMode {
	switch f.mode & typeMask {
	case typeRegular:
		return fs.FileMode(f.mode & 0o777)
	case typeDir:
		return fs.ModeDir
	}
	return fs.ModeIrregular
}

// isDir tells whether a name is a directory's, by opening it as one.
func (s *session) isDir(ctx context.Context, name string) (bool, error) {
	opened, err := s.wire.ask(ctx, fxpOpendir, name, fxpHandle)
	if err != nil {
		if definite(err) {
			return false, nil
		}
		return false, err
	}
	s.closeDir(ctx, string(opened.text()))
	return true, nil
}

// closeDir gives a handle back, and waits for no answer.
func (s *session) closeDir(ctx context.Context, handle string) {
	go s.wire.ask(context.WithoutCancel(ctx), fxpClose, handle, fxpStatus)
}

// eachName calls f with each name in a directory, page by page.
func (s *session) eachName(ctx context.Context, dir string, f func(name string, a attributes) error) error {
	opened, err := s.wire.ask(ctx, fxpOpendir, dir, fxpHandle)
	if err != nil {
		return err
	}
	handle := string(opened.text())
	if opened.cut {
		return errCut
	}
	defer s.closeDir(ctx, handle)
	for names := 0; ; {
		page, err := s.wire.ask(ctx, fxpReaddir, handle, fxpName)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		kib := len(page.rest) >> 10
		n := 0
		for count := page.uint32(); count > 0; count-- {
			n++
			base := page.text()
			page.text() // what ls -l shows
			a := readAttributes(page)
			if page.cut {
				return errCut
			}
			if err := f(string(base), a); err != nil {
				return err
			}
		}
		if page.cut {
			return errCut
		}
		if names += max(n, kib, pageCost); names > maxNames {
			return becausef(CauseEndless, "the server does not come to an end of what %s holds", dir)
		}
	}
}

// classify asks what the names are of which the listing does not tell.
func (l *listing) classify(ctx context.Context, sess *session, dir string) error {
	found := make([]attributes, len(l.untyped))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(listers)
	for i, base := range l.untyped {
		g.Go(func() (err error) {
			found[i], err = sess.attributesOf(ctx, path.Join(dir, base))
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was removed meanwhile
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, base := range l.untyped {
		if err := l.add(base, found[i]); err != nil {
			return err
		}
	}
	l.untyped = nil
	return nil
}

// attributesOf asks about one file, until it is known what it is.
func (s *session) attributesOf(ctx context.Context, name string) (attributes, error) {
	info, err := s.Stat(name)
	if err != nil {
		return attributes{mode: typeNone}, err
	}
	a := attributes{size: uint64(info.Size()), modified: uint32(info.ModTime().Unix()), mode: typeNone}
	raw, known := info.Sys().(*sftp.FileStat)
	switch {
	case known && raw.Mode&typeMask == 0:
		isDir, err := s.isDir(ctx, name)
		if a.mode = typeRegular; isDir {
			a.mode = typeDir
		}
		return a, err
	case info.IsDir():
		a.mode = typeDir
	case info.Mode().IsRegular():
		a.mode = typeRegular
	}
	return a, nil
}
