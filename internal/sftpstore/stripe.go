package sftpstore

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/sync/errgroup"

	"permafrost/internal/parts"
	"permafrost/repo/store"
)

// stripeSize is what a channel's window lets be under way, in bytes: as much as it carries in one round trip. Over a
// distance an object is cut into parts of this size, which travel side by side.
const stripeSize = 2 << 20

// A stripe is a part of an object.
type stripe struct{ start, end int }

// stripes cuts n bytes, into one stripe where the server is so near that a single channel is as fast.
func (s *Store) stripes(n int) []stripe {
	most := s.pool.channels()
	if most <= s.config.Connections {
		return []stripe{{0, n}}
	}
	size := max(stripeSize, (n+most-1)/most)
	all := []stripe{{0, min(size, n)}}
	for at := size; at < n; at += size {
		all = append(all, stripe{at, min(at+size, n)})
	}
	return all
}

// channels returns how many channels there may be.
func (p *pool) channels() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.usable())
}

// readStriped reads stripes side by side. Like io.ReaderAt it returns io.EOF where the object ends before p is full.
func (s *Store) readStriped(ctx context.Context, file string, p []byte, off int64, all []stripe) (int, error) {
	read := make([]int, len(all))
	g, ctx := errgroup.WithContext(ctx)
	for i, part := range all {
		g.Go(func() error {
			err := s.do(ctx, func(ctx context.Context, sess *session) (err error) {
				read[i], err = readAt(ctx, sess, file, p[part.start:part.end], off+int64(part.start))
				if read[i] > 0 {
					s.progressed()
				}
				return err
			})
			if err == io.EOF {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	n := 0
	for i, part := range all {
		n += read[i]
		if read[i] < part.end-part.start {
			return n, io.EOF
		}
	}
	return n, nil
}

// reopens tells whether a file can be opened that another handle has made, which some append-only accounts may not, and to
// some servers is there only once it is closed. It is tried once.
func (u *upload) reopens(sess *session) (bool, error) {
	u.reopening.Lock()
	defer u.reopening.Unlock()
	if u.reopened != nil {
		return *u.reopened, nil
	}
	dir := path.Join(u.config.Path, store.Temp)
	temp := path.Join(dir, strings.ToLower(rand.Text()))
	const flags = os.O_WRONLY | os.O_CREATE
	made, err := sess.OpenFile(temp, flags)
	if errors.Is(err, fs.ErrNotExist) && u.makeDir(sess, dir) == nil {
		made, err = sess.OpenFile(temp, flags)
	}
	if sess.lost(err) {
		u.orphans = append(u.orphans, temp)
	}
	if err != nil {
		return false, denied(err)
	}
	seen := make(chan error, 1)
	go func() {
		_, err := sess.Stat(temp)
		seen <- err
	}()
	again, err := sess.OpenFile(temp, flags)
	unseen := <-seen
	go made.Close()
	if err == nil {
		go again.Close()
	}
	u.removeTemp(sess, temp)
	if sess.lost(err) || sess.lost(unseen) {
		return false, errors.Join(err, unseen)
	}
	ok := err == nil && unseen == nil
	u.reopened = &ok
	return ok, nil
}

// writeStripes writes the upload into its temporary file, each stripe by a handle and on a channel of its own, the first
// one on sess. Whoever opens the file first makes it: that none waits for another one saves a round trip. A stripe that is
// tried again does not: where the file was removed meanwhile, another one of that name would have holes. The file is durable
// then, all of it, and open where the server has fsync.
func (u *upload) writeStripes(ctx context.Context, sess *session, t *tempFile, all []stripe) error {
	t.release()
	temp := t.name
	g, gctx := errgroup.WithContext(ctx)
	for _, part := range all[1:] {
		g.Go(func() error {
			flags := os.O_WRONLY | os.O_CREATE
			return u.do(gctx, func(ctx context.Context, sess *session) error {
				f, err := u.writeStripe(ctx, sess, temp, flags, part)
				flags = os.O_WRONLY
				return closed(sess, f, err)
			})
		})
	}
	g.Go(func() (err error) {
		t.file, err = u.writeStripe(gctx, sess, temp, os.O_WRONLY|os.O_CREATE, all[0])
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return u.settled(sess, t)
}

// settled makes a temporary file durable, and returns an error unless the server holds all of it: there are some that take
// more than they keep. Its size costs no round trip beside fsync. A server may count what an open file has only once it
// is closed.
func (u *upload) settled(sess *session, t *tempFile) error {
	if sess.fsync {
		size := make(chan int64, 1)
		go func() {
			info, err := sess.Stat(t.name)
			if err != nil {
				size <- -1
				return
			}
			size <- info.Size()
		}()
		if err := t.file.Sync(); err != nil {
			return err
		}
		if <-size == int64(u.size) {
			return nil
		}
	}
	if err := t.close(); err != nil {
		return err
	}
	info, err := sess.Stat(t.name)
	if err != nil {
		return err
	}
	if info.Size() != int64(u.size) {
		return becausef(CauseFalseReport, "the server reported success for %d bytes, and kept %d", u.size, info.Size())
	}
	return nil
}

// writeStripe writes one part by a handle of its own, which it returns if there is one. Written twice it is the same.
func (u *upload) writeStripe(ctx context.Context, sess *session, temp string, flags int, part stripe) (*sftp.File, error) {
	f, err := sess.OpenFile(temp, flags)
	if err != nil {
		return nil, err
	}
	return f, u.copyTo(ctx, f, part)
}

// closed closes a handle, if there is one, and returns the first error. Only where there is no fsync is the answer to
// be waited for: it is the last chance to hear of a failure.
func closed(sess *session, f *sftp.File, err error) error {
	if f == nil {
		return err
	}
	if err == nil && !sess.fsync {
		return f.Close()
	}
	go f.Close()
	return err
}

// A writerFrom is what of an sftp.File a part is copied by.
type writerFrom interface {
	io.Seeker
	ReadFromWithConcurrency(r io.Reader, concurrency int) (int64, error)
}

// copyTo writes a part of the upload's data to its place.
func (u *upload) copyTo(ctx context.Context, f writerFrom, part stripe) error {
	if _, err := f.Seek(int64(part.start), io.SeekStart); err != nil {
		return err
	}
	data := io.NewSectionReader(parts.Reader(u.data), int64(part.start), int64(part.end-part.start))
	_, err := f.ReadFromWithConcurrency(&contextReader{ctx, data}, (part.end-part.start)/smallPacket+1)
	if at, e := f.Seek(0, io.SeekCurrent); e == nil && at > int64(part.start) { // where the first failure was, if there was one
		u.progressed()
	}
	return err
}
