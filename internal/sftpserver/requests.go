package sftpserver

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"path"
	"time"

	"golang.org/x/sys/unix"
)

// extensions of OpenSSH's that the greeting names, with their versions.
var extensions = [][2]string{
	{"fsync@openssh.com", "1"}, {"hardlink@openssh.com", "1"}, {"limits@openssh.com", "1"}, {"statvfs@openssh.com", "2"},
}

// requests are what can be asked, by the kind of the packet. What is missing is not supported.
var requests = [256]func(*session, fields, *reply) error{
	fxpOpen:     (*session).open,
	fxpClose:    (*session).close,
	fxpRead:     (*session).read,
	fxpWrite:    (*session).write,
	fxpLstat:    (*session).stat,
	fxpFstat:    (*session).fstat,
	fxpStat:     (*session).stat,
	fxpOpendir:  (*session).opendir,
	fxpReaddir:  (*session).readdir,
	fxpRemove:   (*session).remove,
	fxpMkdir:    (*session).mkdir,
	fxpRealpath: (*session).realpath,
	fxpSetstat:  never,
	fxpFsetstat: never,
	fxpRmdir:    never,
	fxpRename:   never,
	fxpReadlink: never,
	fxpSymlink:  never,
	fxpExtended: (*session).extended,
}

func never(*session, fields, *reply) error { return errNever }

// greet answers the first packet: with the version, and no id.
func (s *session) greet(out io.Writer) error {
	r := &s.reply
	r.reset()
	r.kind = fxpVersion
	for _, e := range extensions {
		r.text(e[0])
		r.text(e[1])
	}
	return r.send(3, out) // the version stands where others have their id
}

func (s *session) open(f fields, r *reply) error {
	name, at := s.tree.name(f.text())
	flags := f.uint32()
	if f.Err() != nil {
		return errMalformed
	}
	if len(s.handles) >= maxHandles {
		return errors.New("too many open files")
	}
	h := &handle{name: name, write: flags&^flagRead != 0}
	var err error
	if h.write {
		h.File, err = s.tree.write(name, at, flags)
	} else {
		h.File, err = s.tree.read(name, at)
	}
	if err != nil {
		return err
	}
	s.give(h, r)
	return nil
}

func (s *session) opendir(f fields, r *reply) error {
	name, at := s.tree.name(f.text())
	switch {
	case f.Err() != nil:
		return errMalformed
	case at != directory:
		return fs.ErrNotExist
	case len(s.handles) >= maxHandles:
		return errors.New("too many open files")
	}
	file, err := s.tree.read(name, at)
	if err != nil {
		return err
	}
	s.give(&handle{File: file, name: name}, r)
	return nil
}

// give answers with a new handle.
func (s *session) give(h *handle, r *reply) {
	for s.last++; s.handles[s.last] != nil; s.last++ {
	}
	s.handles[s.last] = h
	r.kind = fxpHandle
	r.uint32(4)
	r.uint32(s.last)
}

// handle reads a handle.
func (s *session) handle(f fields) (*handle, uint32, error) {
	if b := f.bytes(); len(b) == 4 {
		id := binary.BigEndian.Uint32(b)
		if h := s.handles[id]; h != nil {
			return h, id, nil
		}
	}
	return nil, 0, errors.New("no such handle")
}

func (s *session) close(f fields, _ *reply) error {
	h, id, err := s.handle(f)
	if err != nil {
		return err
	}
	delete(s.handles, id)
	return h.Close()
}

func (s *session) read(f fields, r *reply) error {
	h, _, err := s.handle(f)
	off, length := f.uint64(), f.uint32()
	switch {
	case f.Err() != nil:
		return errMalformed
	case err != nil:
		return err
	case off > math.MaxInt64:
		return io.EOF
	}
	r.kind = fxpData
	r.uint32(0)
	data := r.body[4 : 4+min(length, maxData)]
	n, err := h.ReadAt(data, int64(off))
	if n == 0 && len(data) > 0 {
		return err
	}
	binary.BigEndian.PutUint32(r.body, uint32(n))
	r.body = r.body[:4+n]
	return nil
}

func (s *session) write(f fields, _ *reply) error {
	h, _, err := s.handle(f)
	off, data := f.uint64(), f.bytes()
	switch {
	case f.Err() != nil:
		return errMalformed
	case err != nil:
		return err
	case !h.write:
		return errCommitted
	case off > math.MaxInt64-maxPacket:
		return errors.New("there is no such offset")
	}
	return change(h.File, func() error {
		_, err := h.WriteAt(data, int64(off))
		return err
	})
}

func (s *session) stat(f fields, r *reply) error {
	name, at := s.tree.name(f.text())
	if f.Err() != nil {
		return errMalformed
	}
	if at == nowhere {
		return fs.ErrNotExist
	}
	info, err := s.tree.look(name)
	if err != nil {
		return err
	}
	r.kind = fxpAttrs
	r.attrs(info)
	return nil
}

func (s *session) fstat(f fields, r *reply) error {
	h, _, err := s.handle(f)
	if err != nil {
		return err
	}
	info, err := h.Stat()
	if err != nil {
		return err
	}
	r.kind = fxpAttrs
	r.attrs(info)
	return nil
}

// readdir lists what is the repository's, but for uploads that may be under way: who knows the name of one may write to it.
func (s *session) readdir(f fields, r *reply) error {
	h, _, err := s.handle(f)
	if err != nil {
		return err
	}
	for count := uint32(0); count == 0; {
		entries, err := h.ReadDir(listed)
		if err != nil {
			return err
		}
		r.reset()
		r.kind = fxpName
		r.uint32(0)
		for _, e := range entries {
			if placeOf(path.Join(h.name, e.Name())) == nowhere || !e.IsDir() && !e.Type().IsRegular() {
				continue
			}
			info, err := e.Info()
			if err != nil || placeOf(path.Join(h.name, e.Name())) == temp && time.Since(info.ModTime()) < leftUpload {
				continue // it was removed meanwhile, or is nobody's but its maker's
			}
			r.text(e.Name())
			r.text(e.Name())
			r.attrs(info)
			count++
		}
		binary.BigEndian.PutUint32(r.body, count)
	}
	return nil
}

func (s *session) remove(f fields, _ *reply) error {
	name, at := s.tree.name(f.text())
	if f.Err() != nil {
		return errMalformed
	}
	return s.tree.remove(name, at)
}

func (s *session) mkdir(f fields, _ *reply) error {
	name, at := s.tree.name(f.text())
	if f.Err() != nil {
		return errMalformed
	}
	return s.tree.mkdir(name, at)
}

func (s *session) realpath(f fields, r *reply) error {
	p := s.tree.absolute(f.text())
	if f.Err() != nil || len(p) > maxPacket/4 {
		return errMalformed
	}
	r.kind = fxpName
	r.uint32(1)
	r.text(p)
	r.text(p)
	r.uint32(0) // no attributes
	return nil
}

func (s *session) extended(f fields, r *reply) error {
	switch f.text() {
	case "fsync@openssh.com":
		h, _, err := s.handle(f)
		if err != nil {
			return err
		}
		return h.Sync()
	case "hardlink@openssh.com":
		from, fromAt := s.tree.name(f.text())
		to, toAt := s.tree.name(f.text())
		if f.Err() != nil {
			return errMalformed
		}
		return s.tree.commit(from, fromAt, to, toAt)
	case "limits@openssh.com":
		r.kind = fxpExtendedReply
		for _, limit := range []uint64{maxPacket, maxData, maxData, maxHandles} {
			r.uint64(limit)
		}
		return nil
	case "statvfs@openssh.com":
		return s.statvfs(f, r)
	case "posix-rename@openssh.com", "lsetstat@openssh.com":
		return errNever
	}
	return errUnsupported
}

// statvfs tells how much room there is.
func (s *session) statvfs(f fields, r *reply) error {
	name, at := s.tree.name(f.text())
	if f.Err() != nil {
		return errMalformed
	}
	file, err := s.tree.read(name, at)
	if err != nil {
		return err
	}
	defer file.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &st); err != nil {
		return err
	}
	r.kind = fxpExtendedReply
	const noID, noFlags = 0, 0
	for _, v := range []uint64{uint64(st.Bsize), uint64(st.Frsize), st.Blocks, st.Bfree, st.Bavail, st.Files, st.Ffree, st.Ffree,
		noID, noFlags, uint64(st.Namelen)} {
		r.uint64(v)
	}
	return nil
}
