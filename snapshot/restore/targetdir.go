package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/restore/internal/sums"
	"permafrost/source"
)

// A targetDir is the directory that a snapshot is restored into. Nothing is written but beneath it.
type targetDir struct {
	*hostfs.Dir        // nil where there is none, and nothing is written
	path        string // as it was given
}

// lock keeps a second restore out of the target while this one is at work, where the file system has locks.
func (d targetDir) lock() error {
	if err := unix.Flock(d.Fd(), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
		return source.Because(CauseTargetBusy, fmt.Errorf("another process restores into %s", d.path))
	}
	return nil
}

// stat looks at a file of the target.
func (d targetDir) stat(name string) (info fs.FileInfo, err error) {
	dir, base := d.Dir, name
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

// in calls f with the directory that a file of the target is in, which is made where it is missing, and the name there.
func (d targetDir) in(name string, f func(dir *hostfs.Dir, base string) error) error {
	below, base := path.Split(name)
	if below == "" {
		return f(d.Dir, base)
	}
	dir, err := d.Make(path.Clean(below))
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(dir, base)
}

// open opens a file below the target.
func (d targetDir) open(name string) (f io.ReadCloser, err error) {
	dir, base := d.Dir, path.Base(name)
	if below := path.Dir(name); below != "." {
		if dir, err = dir.Open(below); err != nil {
			return nil, err
		}
		defer dir.Close()
	}
	return dir.OpenFile(base, os.O_RDONLY)
}

// put writes a file of this program's own.
func (d targetDir) put(name string, data []byte) error {
	err := d.in(name, func(dir *hostfs.Dir, base string) error {
		return dir.Replace(base, func(f *os.File) error {
			_, err := f.Write(data)
			return err
		})
	})
	if err != nil {
		return fault.OfTarget(err)
	}
	return nil
}

// private reports whether nobody else can change a file, and a secret is like its restore.
func (d targetDir) private(info fs.FileInfo, secret *snapshot.SecretFile) bool {
	if secret != nil && (info.Mode().Perm() != restoredMode(secret) || info.ModTime().UnixNano() != secret.MTime) {
		return false
	}
	return d.Own(info)
}

// isStream reports whether a file holds a stream.
func (d targetDir) isStream(ctx context.Context, s *restoredStream) (same bool, err error) {
	d.in(s.name, func(dir *hostfs.Dir, base string) error {
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

// sums returns SHA256SUMS: a line for each stream that is there.
func (d targetDir) sums(m *snapshot.Manifest, there map[string]bool) []byte {
	var b bytes.Buffer
	for _, s := range streamsOf(m, there) {
		if info, err := d.stat(s.name); err == nil && info.Mode().IsRegular() {
			fmt.Fprintf(&b, "%s\n", sums.Line(s.SHA256, s.name))
		}
	}
	return b.Bytes()
}

// readState reads what the target says of itself. None is no error.
func (d targetDir) readState() (s restoreState, err error) {
	data, err := d.ReadFile(stateName, maxState)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields()
		if err = dec.Decode(&s); err == nil && (s.Format != stateFormat || !isID(s.Snapshot)) {
			err = errors.New("it is not of this version of permafrost")
		}
	}
	if err != nil {
		return restoreState{}, source.Because(CauseTargetState, fmt.Errorf("%s in %s can't be read: %w", stateName, d.path, err))
	}
	return s, nil
}

// free returns the room of the target's file system and the size of its blocks, if it tells.
func (d targetDir) free() (free room, block int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.Fd(), &st); err != nil || st.Bsize <= 0 {
		return room{}, 0, false
	}
	free = room{math.MaxInt64, math.MaxInt64}
	if st.Bavail < math.MaxInt64/uint64(st.Bsize) {
		free.bytes = int64(st.Bavail) * st.Bsize
	}
	if st.Files > 0 && st.Ffree < math.MaxInt64 { // else inodes are made as they are needed
		free.inodes = int64(st.Ffree)
	}
	return free, st.Bsize, true
}
