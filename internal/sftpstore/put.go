package sftpstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"

	"permafrost/internal/parts"
	"permafrost/repo/store"
)

// placeTries is how often an upload is begun on a connection that holds, while its temporary file goes away.
const placeTries = 3

// uploadLife is how long, by the clock on the wall, an upload may take. What is left of a longer one may have been swept, as a
// prune does after three days, and a part that came later have made the file anew, with holes.
const uploadLife = 24 * time.Hour

// cleanTime is how long Put may take to remove what an upload left on a connection that was lost.
const cleanTime = 2 * time.Second

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, data ...[]byte) error {
	target, err := s.path(name)
	if err == nil && store.InTemp(name) {
		err = errReserved
	}
	if err != nil {
		return fmt.Errorf("putting %s: %w", name, err)
	}
	u := &upload{Store: s, target: target, data: data, size: int(parts.Size(data))}
	err = s.do(ctx, u.attempt)
	u.clean(ctx)
	if err != nil {
		return fmt.Errorf("putting %s: %w", name, err)
	}
	return nil
}

// An upload is one Put, over all of its attempts.
type upload struct {
	*Store
	target  string
	data    [][]byte
	size    int
	doubt   bool     // an attempt may have published
	orphans []string // temporary names that a lost connection kept from being removed
}

func (u *upload) attempt(ctx context.Context, sess *session) error {
	if u.doubt {
		switch err := u.compare(sess); {
		case err == nil:
			return u.syncDir(sess, path.Dir(u.target))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	for try := 1; ; try++ {
		err := u.place(ctx, sess)
		if try == placeTries || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
}

// place uploads the data, and gives them their name. It fails with fs.ErrNotExist where the temporary file was removed, or may
// have: we were suspended in the middle for so long that a prune took it for left over.
func (u *upload) place(ctx context.Context, sess *session) error {
	begun := u.clock()
	var d *dir
	opened := make(chan error, 1)
	go func() {
		var err error
		d, err = u.openDir(sess, path.Dir(u.target))
		opened <- err
	}()
	temp, err := u.write(ctx, sess)
	defer temp.release()
	if dirErr := <-opened; err == nil {
		err = dirErr
	}
	defer d.close()
	if err == nil {
		err = ctx.Err()
	}
	if took := u.clock().Sub(begun); err == nil && took > uploadLife {
		err = fmt.Errorf("an upload that took %v: %w", took, fs.ErrNotExist)
	}
	left := temp.name
	if err == nil {
		left, err = u.publishOpen(sess, temp)
	}
	removed := make(chan struct{})
	go func() {
		u.removeTemp(sess, left)
		close(removed)
	}()
	if err == nil {
		err = d.sync()
	}
	<-removed
	return err
}

// A tempFile is an upload before it has its name. file is nil once it is closed.
type tempFile struct {
	name string
	file *sftp.File
}

// close closes the file, and waits for what the server says to that.
func (t *tempFile) close() error {
	f := t.file
	if t.file = nil; f == nil {
		return nil
	}
	return f.Close()
}

// release closes the file, and waits for nothing.
func (t *tempFile) release() {
	if t.file != nil {
		go t.file.Close()
	}
}

// write uploads the data under a temporary name, durably. Where the file may be there its name is returned with an error
// too.
func (u *upload) write(ctx context.Context, sess *session) (*tempFile, error) {
	t := new(tempFile)
	all := u.stripes(u.size)
	if len(all) > 1 {
		reopens, err := u.reopens(sess)
		if err != nil {
			return t, err
		}
		if !reopens {
			all = []stripe{{0, u.size}}
		}
	}
	dir := path.Join(u.config.Path, store.Temp)
	t.name = path.Join(dir, strings.ToLower(rand.Text()))
	err := u.writeStripes(ctx, sess, t, all)
	if errors.Is(err, fs.ErrNotExist) {
		if err := u.makeDir(sess, dir); err != nil {
			return new(tempFile), err
		}
		if err = u.writeStripes(ctx, sess, t, all); errors.Is(err, fs.ErrNotExist) {
			err = becausef(CauseFalseReport, "the server reported success for making that directory, and it is not there: %w", err)
		}
	}
	if err != nil && !sess.lost(err) {
		err = fmt.Errorf("writing a file in %s: %w", dir, denied(u.explain(sess, err, dir, u.size)))
	}
	return t, err
}

// contextReader ends where its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// compare returns nil where the object has the upload's content, fs.ErrExist where it has another one, and
// fs.ErrNotExist where there is none.
func (u *upload) compare(sess *session) error {
	f, err := sess.Open(u.target)
	if err != nil {
		return err
	}
	defer func() { go f.Close() }()
	const piece = 4 << 20
	buf := make([]byte, min(u.size+1, piece))
	own := make([]byte, len(buf))
	data := parts.Reader(u.data)
	for off := 0; ; off += len(buf) {
		n, err := f.ReadAt(buf, int64(off))
		if err != nil && err != io.EOF {
			return err
		}
		if m, _ := data.ReadAt(own[:n], int64(off)); !bytes.Equal(own[:m], buf[:n]) {
			return fs.ErrExist
		}
		if err == io.EOF && off+n == u.size {
			return nil
		}
		if err == io.EOF {
			return fs.ErrExist
		}
	}
}

// removeTemp removes a temporary name, unless the server is known to refuse that.
func (u *upload) removeTemp(sess *session, temp string) {
	if temp == "" || u.keepsTemp.Load() {
		return
	}
	err := sess.Remove(temp)
	switch {
	case sess.lost(err):
		u.orphans = append(u.orphans, temp)
	case errors.Is(err, fs.ErrPermission):
		u.keepsTemp.Store(true)
	}
}

// clean removes what lost connections left, within reason: what stays is swept as stale one day.
func (u *upload) clean(ctx context.Context) {
	if len(u.orphans) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	orphans := u.orphans
	u.retry(ctx, time.Time{}, cleanTime, func(_ context.Context, sess *session) error {
		var err error
		for _, temp := range orphans {
			if e := sess.Remove(temp); sess.lost(e) {
				err = e
			}
		}
		return err
	})
}

// explain turns a server's "failure" to write into store.ErrNoSpace where the file system of dir can't take n more bytes.
func (s *Store) explain(sess *session, err error, dir string, n int) error {
	var status *sftp.StatusError
	if sess.lost(err) || !errors.As(err, &status) {
		return err
	}
	const noSpace, quota = 14, 15 // of later versions of the protocol
	text := strings.ToLower(status.Error())
	full := status.Code == noSpace || status.Code == quota || strings.Contains(text, "no space") || strings.Contains(text, "quota")
	if st, e := sess.StatVFS(dir); e == nil {
		full = full || st.Bavail*st.Frsize < uint64(n) || st.Files > 0 && st.Favail == 0
	} else if sess.lost(e) {
		return e
	}
	if full {
		return fmt.Errorf("%w (%w)", store.ErrNoSpace, err)
	}
	return because(CauseUnexplained, err)
}
