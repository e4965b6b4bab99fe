package sftpstore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/pkg/sftp"
)

// A dir is a directory that is there. Its handle is nil where the server has no fsync for it.
type dir struct {
	store  *Store
	sess   *session
	handle *sftp.File
}

// openDir opens a directory, and makes it first where it is missing. Its own name is made durable, once.
func (s *Store) openDir(sess *session, name string) (*dir, error) {
	d := &dir{store: s, sess: sess}
	if !sess.fsync || s.noDirSync.Load() {
		return d, s.ensureDir(sess, name)
	}
	var err error
	if d.handle, err = sess.Open(name); errors.Is(err, fs.ErrNotExist) {
		if err := s.makeSpread(sess, name); err != nil {
			return nil, err
		}
		d.handle, err = sess.Open(name)
	}
	if sess.lost(err) {
		return nil, err
	}
	if err != nil {
		s.refuseDirSync()
		return d, s.ensureDir(sess, name)
	}
	// Who finds a directory may have been faster than who made it and has not made it durable yet.
	var durable []string // once all of them are
	for n := name; path.Dir(n) != n; n = path.Dir(n) {
		if _, ok := s.known.Load(n); ok {
			break
		}
		if err := s.syncDir(sess, path.Dir(n)); err != nil {
			d.close()
			return nil, err
		}
		durable = append(durable, n)
		if n == s.config.Path {
			break
		}
	}
	for _, n := range durable {
		s.known.Store(n, true)
	}
	return d, nil
}

// ensureDir makes a directory where it is missing.
func (s *Store) ensureDir(sess *session, name string) error {
	if _, ok := s.known.Load(name); ok {
		return nil
	}
	_, err := sess.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.makeSpread(sess, name)
	}
	if err == nil {
		s.known.Store(name, true)
	}
	return err
}

// makeSpread makes a directory, and where names are spread over directories of two hexadecimal digits, all 256 of them
// at once: they would soon be made one by one, each at the cost of several round trips and an fsync of their parent.
func (s *Store) makeSpread(sess *session, name string) error {
	if b, err := hex.DecodeString(path.Base(name)); err != nil || len(b) != 1 {
		return s.makeDir(sess, name)
	}
	parent := path.Dir(name)
	once, _ := s.spread.LoadOrStore(parent, new(sync.Once))
	once.(*sync.Once).Do(func() { s.makeAll(sess, parent) })
	if _, made := s.known.Load(name); made {
		return nil
	}
	return s.makeDir(sess, name)
}

// makeAll makes 256 directories below parent, as far as that succeeds.
func (s *Store) makeAll(sess *session, parent string) {
	if _, err := sess.Stat(parent); err != nil && s.makeDir(sess, parent) != nil {
		return
	}
	var made [256]bool
	var all sync.WaitGroup
	for i := range made {
		all.Go(func() { made[i] = sess.Mkdir(path.Join(parent, fmt.Sprintf("%02x", i))) == nil })
	}
	all.Wait()
	if s.syncDir(sess, path.Dir(parent)) != nil || s.syncDir(sess, parent) != nil {
		return
	}
	for i := range made {
		if made[i] {
			s.known.Store(path.Join(parent, fmt.Sprintf("%02x", i)), true)
		}
	}
}

// makeDir makes a directory and the parents that it lacks.
func (s *Store) makeDir(sess *session, name string) error {
	err := sess.Mkdir(name)
	if parent := path.Dir(name); errors.Is(err, fs.ErrNotExist) && parent != name {
		if err := s.makeDir(sess, parent); err != nil {
			return err
		}
		err = sess.Mkdir(name)
	}
	if err != nil && !sess.lost(err) {
		// "Failure" may mean that another one was faster.
		info, statErr := sess.Stat(name)
		if statErr == nil && info.IsDir() || sess.lost(statErr) {
			return statErr
		}
		err = s.explain(sess, err, path.Dir(name), 1)
	}
	if err != nil {
		return fmt.Errorf("making directory %s: %w", name, denied(err))
	}
	return s.syncDir(sess, path.Dir(name))
}

// denied gives the cause to an error that says that the account may not write there.
func denied(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return because(CauseDenied, err)
}

// syncDir makes durable which names a directory holds. A server that refuses is taken as it is.
func (s *Store) syncDir(sess *session, name string) error {
	if !sess.fsync || s.noDirSync.Load() {
		return nil
	}
	handle, err := sess.Open(name)
	if sess.lost(err) {
		return err
	}
	if err != nil {
		return nil // a parent that this account may not read
	}
	d := &dir{s, sess, handle}
	defer d.close()
	return d.sync()
}

// sync makes durable which names the directory holds.
func (d *dir) sync() error {
	if d.handle == nil || d.store.noDirSync.Load() {
		return nil
	}
	err := d.handle.Sync()
	switch {
	case err == nil:
		d.store.dirSynced.Store(true)
	case !d.sess.lost(err) && !d.store.dirSynced.Load():
		d.store.refuseDirSync()
		return nil
	}
	return err
}

// close gives the handle back, and waits for no answer.
func (d *dir) close() {
	if d != nil && d.handle != nil {
		go d.handle.Close()
	}
}

func (s *Store) refuseDirSync() {
	s.noDirSync.Store(true)
	s.lasting("the server does not fsync directories: a power cut right after a run may lose its last objects")
}
