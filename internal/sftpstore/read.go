package sftpstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"

	"permafrost/repo/store"
)

// ReadAt implements store.Store.
func (s *Store) ReadAt(ctx context.Context, name string, p []byte, off int64) (n int, err error) {
	file, err := s.path(name)
	if err == nil && off < 0 {
		err = errors.New("negative offset")
	}
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", name, err)
	}
	if all := s.stripes(len(p)); len(all) > 1 {
		n, err = s.readStriped(ctx, file, p, off, all)
	} else {
		err = s.do(ctx, func(ctx context.Context, sess *session) (err error) {
			if n, err = readAt(ctx, sess, file, p, off); n > 0 {
				s.progressed()
			}
			return err
		})
	}
	if err != nil && err != io.EOF {
		n, err = 0, fmt.Errorf("reading %s: %w", name, err)
	}
	return n, err
}

func readAt(ctx context.Context, sess *session, file string, p []byte, off int64) (int, error) {
	end := make(chan int64, 1)
	go func() { end <- knownEnd(sess, file, len(p)) }()
	f, err := sess.Open(file)
	room := min(max(<-end-off, 0), int64(len(p)))
	if err != nil {
		return 0, absent(sess, file, err)
	}
	defer func() { go f.Close() }()
	if err := ctx.Err(); err != nil || len(p) == 0 {
		return 0, err
	}
	n, err := f.ReadAt(p[:room], off)
	switch {
	case err == nil && n < len(p):
		return n, io.EOF
	case err != nil && err != io.EOF:
		return n, absent(sess, file, err)
	}
	return n, err
}

// knownEnd returns a file's size where at most n bytes are to be read and n is small, and otherwise infinity: the library
// reads on until it is told of the end, so that all of a small object costs a round trip less if one asks while it opens.
func knownEnd(sess *session, file string, n int) int64 {
	if n <= smallPacket {
		if info, err := sess.Stat(file); err == nil {
			return info.Size()
		}
	}
	return math.MaxInt64
}

// absent makes fs.ErrNotExist of a refusal where what the path names is not there, is no file, or lies below one.
func absent(sess *session, file string, err error) error {
	if sess.lost(err) || !definite(err) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info, e := sess.Stat(file); sess.lost(e) {
		return e
	} else if errors.Is(e, fs.ErrNotExist) || e == nil && !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	if info, e := sess.Stat(path.Dir(file)); sess.lost(e) {
		return e
	} else if e == nil && !info.IsDir() {
		return fs.ErrNotExist
	}
	return err
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (o store.Object, err error) {
	file, err := s.path(name)
	if err == nil {
		err = s.do(ctx, func(_ context.Context, sess *session) error {
			info, err := sess.Stat(file)
			if err != nil {
				return absent(sess, file, err)
			}
			if !info.Mode().IsRegular() {
				return fs.ErrNotExist
			}
			if info.Size() < 0 {
				return fmt.Errorf("the server says that it has %d bytes", uint64(info.Size()))
			}
			o = store.Object{Name: name, Size: info.Size(), Time: info.ModTime()}
			return nil
		})
	}
	if err != nil {
		return store.Object{}, fmt.Errorf("looking at %s: %w", name, err)
	}
	return o, nil
}

// Remove implements store.Store.
func (s *Store) Remove(ctx context.Context, name string) error {
	file, err := s.path(name)
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	doubt := false // an attempt may have removed it
	err = s.do(ctx, func(_ context.Context, sess *session) error {
		opened := make(chan *dir, 1)
		go func() {
			d := &dir{store: s, sess: sess}
			if sess.fsync && !s.noDirSync.Load() {
				if f, err := sess.Open(path.Dir(file)); err == nil {
					d.handle = f
				}
			}
			opened <- d
		}()
		err := sess.Remove(file)
		d := <-opened
		defer d.close()
		if doubt && errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		doubt = doubt || err == nil || sess.lost(err)
		if err != nil {
			return absent(sess, file, err)
		}
		return d.sync()
	})
	if errors.Is(err, fs.ErrPermission) {
		err = because(CauseNoRemoval, err)
	}
	if err != nil {
		return fmt.Errorf("removing %s: %w", name, err)
	}
	return nil
}

// Free returns how many bytes the server's file system still takes; ok tells whether the server says so. A quota of the
// account need not show.
func (s *Store) Free(ctx context.Context) (bytes int64, ok bool, err error) {
	err = s.do(ctx, func(_ context.Context, sess *session) error {
		if _, offered := sess.HasExtension("statvfs@openssh.com"); !offered {
			return nil
		}
		for dir := s.config.Path; ; dir = path.Dir(dir) {
			st, err := sess.StatVFS(dir)
			if errors.Is(err, fs.ErrNotExist) && dir != path.Dir(dir) {
				continue // the first Put will make it
			}
			if err == nil {
				bytes, ok = int64(min(st.Bavail*st.Frsize, 1<<63-1)), true
			}
			return err
		}
	})
	if err != nil {
		return 0, false, fmt.Errorf("asking for free space: %w", err)
	}
	return bytes, ok, nil
}
