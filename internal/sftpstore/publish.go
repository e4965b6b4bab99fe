package sftpstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"permafrost/internal/hint"
	"permafrost/repo/store"
)

// How a name comes into being only where there is none.
const (
	untried  = iota
	byLink   // a link succeeded
	byRename // there are no links, and a trial showed that rename refuses a name that is taken
)

// An UnfitError says why a server can't hold a repository.
type UnfitError struct {
	Why []string
}

func (e *UnfitError) Error() string {
	return "the server can't hold a repository: " + strings.Join(e.Why, ", and ")
}

func unfit(why ...string) error { return &UnfitError{why} }

// bothUnfit makes one error of why links don't serve and why renames don't. link is nil where the server offers no links.
func bothUnfit(link, rename error) error {
	var l, r *UnfitError
	switch {
	case !errors.As(rename, &r):
		return because(CauseUnpublished, hint.Join(link, rename))
	case link == nil:
		return unfit(append([]string{"it has no hard links"}, r.Why...)...)
	case errors.As(link, &l):
		return unfit(append(slices.Clone(l.Why), r.Why...)...)
	}
	return unfit(append([]string{fmt.Sprintf("it makes no hard links (%v)", link)}, r.Why...)...)
}

// publishOpen gives the temporary file the upload's name, or returns fs.ErrExist. It returns the temporary name that is
// left. To some servers a file has no name before its handle is closed; to others that would cost a round trip.
func (u *upload) publishOpen(sess *session, t *tempFile) (left string, err error) {
	if u.closesFirst.Load() {
		if err := t.close(); err != nil {
			return t.name, err
		}
	}
	open := t.file != nil
	left, err = u.publishAs(sess, t.name, open)
	if !open || !errors.Is(err, fs.ErrNotExist) {
		return left, err
	}
	if err := t.close(); err != nil {
		return t.name, err
	}
	if left, err = u.publishAs(sess, t.name, false); err == nil {
		u.closesFirst.Store(true)
	}
	return left, err
}

// publishAs gives the file temp the upload's name. Where the file is open, fs.ErrNotExist may mean just that.
func (u *upload) publishAs(sess *session, temp string, open bool) (left string, err error) {
	var linkErr error
	if how := u.published.Load(); how == byLink || how == untried && sess.link {
		linkErr = u.settle(sess, sess.Link(temp, u.target))
		if linkErr == nil && how == untried {
			linkErr = u.look(sess, "its hard link")
		}
		if linkErr == nil {
			u.published.Store(byLink)
		}
		if how == byLink || linkErr == nil || sess.lost(linkErr) || errors.Is(linkErr, fs.ErrExist) ||
			errors.Is(linkErr, store.ErrNoSpace) || open && errors.Is(linkErr, fs.ErrNotExist) {
			return temp, linkErr
		}
	}
	if u.published.Load() == untried {
		if err := u.tryRename(sess); err != nil {
			if !sess.lost(err) {
				err = bothUnfit(linkErr, err)
			}
			return temp, err
		}
	}
	if err := u.settle(sess, sess.Rename(temp, u.target)); err != nil {
		return temp, err
	}
	if u.published.Load() == untried {
		if err := u.look(sess, "its rename"); err != nil {
			return temp, err
		}
		u.published.Store(byRename)
		u.lasting("the server has no hard links there: its rename must keep two runs from storing one object at once")
	}
	return "", nil
}

// look returns an error unless the upload stands under its name, as it was sent: another one's may. There are servers whose
// links, or renames, are an answer and nothing more.
func (u *upload) look(sess *session, how string) error {
	err := u.compare(sess)
	if errors.Is(err, fs.ErrNotExist) {
		err = unfit(how + " reports success and does nothing")
	}
	return err
}

// settle finds out what the answer to a link or rename means: nil, fs.ErrExist, store.ErrNoSpace, or another error.
func (u *upload) settle(sess *session, err error) error {
	if err == nil || sess.lost(err) {
		u.doubt = true // from here on: what comes after may be lost too
		return err
	}
	switch _, statErr := sess.Stat(u.target); {
	case statErr == nil && u.doubt:
		return u.compare(sess)
	case statErr == nil:
		return fs.ErrExist
	case sess.lost(statErr):
		return statErr
	}
	return u.explain(sess, err, path.Dir(u.target), 1)
}

// tryRename returns nil where the server's rename refuses a name that is taken.
func (s *Store) tryRename(sess *session) error {
	var names [2]string
	for i := range names {
		names[i] = path.Join(s.config.Path, store.Temp, strings.ToLower(rand.Text()))
		f, err := sess.OpenFile(names[i], os.O_WRONLY|os.O_CREATE|os.O_EXCL)
		if err == nil {
			defer sess.Remove(names[i])
			err = f.Close()
		}
		if err != nil {
			return fmt.Errorf("trying the server's rename: %w", err)
		}
	}
	err := sess.Rename(names[0], names[1])
	if sess.lost(err) {
		return err
	}
	if _, statErr := sess.Stat(names[0]); statErr != nil && !errors.Is(statErr, fs.ErrNotExist) {
		return fmt.Errorf("trying the server's rename: %w", statErr)
	} else if err == nil && statErr == nil {
		return unfit("its rename reports success and does nothing")
	} else if err == nil || statErr != nil {
		return unfit("its rename overwrites")
	}
	return nil
}
