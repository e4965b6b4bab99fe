package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
	"permafrost/source"
)

// open makes the target directory ready: one that nobody else decides about, empty unless forced, and on a disk with room.
func (rs *restorer) open(ctx context.Context, want map[string]bool) error {
	if rs.Target == "" {
		return errors.New("no target directory")
	}
	name, err := absolute(rs.Target)
	if err == nil {
		rs.dir, err = hostfs.MakeDir(name)
	}
	if err != nil {
		return hint.Wrap(fmt.Errorf("opening the target directory: %w", err), targetHint(err))
	}
	if err := rs.checkTarget(ctx, want); err != nil {
		rs.dir.Close()
		return err
	}
	if u := rs.dir.User(); u != nil {
		rs.out.Owner = u.String()
		rs.Warn(fmt.Sprintf("%v decides what %s is: all of it is written with that user's rights, and belongs to that user", u, rs.Target))
	}
	return nil
}

// absolute returns a path from the root directory to where a path leads from the working directory.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	// The shell's idea of the working directory may lead through symbolic links, which ".." would not lead back through.
	wd, err := unix.Getwd()
	if err != nil {
		return "", fmt.Errorf("the working directory: %w", err)
	}
	return filepath.Join(wd, path), nil
}

func targetHint(err error) string {
	if shared := (*hostfs.SharedError)(nil); errors.As(err, &shared) {
		return "choose a --target below a directory that only root can write, such as /root/restore"
	}
	return "name a directory that can be made or is empty"
}

func (rs *restorer) checkTarget(ctx context.Context, want map[string]bool) error {
	empty, err := rs.dir.Empty()
	if err != nil {
		return err
	}
	if !empty && !rs.Force {
		return hint.Wrap(fmt.Errorf("%s is not empty", rs.Target), "name a directory that does not exist yet, or use --force to write into this one")
	}
	if want["media"] && !empty {
		if err := rs.checkMedia(); err != nil {
			return hint.Wrap(fmt.Errorf("%s holds %s already: %w", rs.Target, mediaDir, err), "move it away, or leave the media out with --component")
		}
	}
	return rs.checkRoom(ctx, want)
}

// errNotEmpty says why a directory that is there is not taken for the media.
var errNotEmpty = errors.New("it is not empty")

// checkMedia looks whether media can be restored: nothing has their name, or an empty directory that is nobody else's.
func (rs *restorer) checkMedia() error {
	dir, err := rs.dir.Open(mediaDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	return mustBeEmpty(dir)
}

func mustBeEmpty(dir *hostfs.Dir) error {
	empty, err := dir.Empty()
	if err == nil && !empty {
		err = errNotEmpty
	}
	return err
}

// A room is what something takes on a file system.
type room struct{ bytes, inodes int64 }

// add counts a file, directory or link of so many bytes, in blocks.
func (r *room) add(bytes, block int64) {
	r.inodes++
	if bytes = (max(bytes, 1) + block - 1) / block * block; bytes > math.MaxInt64-r.bytes {
		bytes = math.MaxInt64 - r.bytes
	}
	r.bytes += bytes
}

// explain says of an error that comes from a full file system what is full, and what to do.
func (rs *restorer) explain(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return err
	}
	if free, _, ok := rs.free(); ok {
		text := mebibytes(free.bytes) + " free"
		if free.inodes < math.MaxInt64 {
			text += fmt.Sprintf(" and inodes for %d files", free.inodes)
		}
		err = fmt.Errorf("%w: %s has %s", err, rs.Target, text)
	}
	return hint.Wrap(err, "what was restored so far is there and whole; make room and restore the rest with --component, or choose another --target")
}

// free returns the room of the target's file system and the size of its blocks, if it tells.
func (rs *restorer) free() (free room, block int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(rs.dir.Fd(), &st); err != nil || st.Bsize <= 0 {
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

// checkRoom looks whether the target's file system has room. Media are counted one by one only where the manifest's sums
// leave a doubt: it does not say what is holes, which need none.
func (rs *restorer) checkRoom(ctx context.Context, want map[string]bool) error {
	free, block, ok := rs.free()
	if !ok {
		return nil // nobody knows
	}
	need := rs.m.streams(want, block)
	if want["media"] {
		if sure := need.withMedia(&rs.m.Media, block); sure.within(free) {
			return nil
		}
		if rs.mediaRoom(ctx, &need, free, block); ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if need.within(free) {
		return nil
	}
	err := rs.short(free, need)
	if rs.Force {
		rs.Warn(err.Error() + ": restoring all the same")
		return nil
	}
	return hint.Wrap(err, "choose another --target, or single parts with --component; --force tries it all the same")
}

func (r room) within(free room) bool { return r.bytes <= free.bytes && r.inodes <= free.inodes }

// short says what the target's file system has too little of.
func (rs *restorer) short(free, need room) error {
	var parts []string
	if need.bytes > free.bytes {
		parts = append(parts, fmt.Sprintf("has %s free, and the snapshot needs %s", mebibytes(free.bytes), mebibytes(need.bytes)))
	}
	if need.inodes > free.inodes {
		parts = append(parts, fmt.Sprintf("has inodes for %d files, and the snapshot needs %d", free.inodes, need.inodes))
	}
	return fmt.Errorf("%s %s", rs.Target, strings.Join(parts, "; it "))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// withMedia adds the most that media can need by their sums.
func (r room) withMedia(m *Media, block int64) room {
	if m.Size > math.MaxInt64-r.bytes || m.Listing.Entries > (math.MaxInt64-r.bytes-m.Size)/block {
		return room{math.MaxInt64, math.MaxInt64}
	}
	return room{r.bytes + m.Size + m.Listing.Entries*block, r.inodes + m.Listing.Entries}
}

// streams returns the room for the components that are streams.
func (m *Manifest) streams(want map[string]bool, block int64) (r room) {
	if want["secrets"] {
		for i := range m.Secrets.Files {
			r.add(m.Secrets.Files[i].Size, block)
		}
	}
	if want["postgres"] && m.Postgres.State == Captured {
		r.add(m.Postgres.Size, block)
	}
	if want["redis"] {
		for _, x := range m.Redises {
			if x.State == Captured {
				r.add(x.Size, block)
			}
		}
	}
	return r
}

// mediaRoom adds what the media need, entry by entry. Of a file that is larger than what is free, no more is counted than tells
// that. An error is for the restore itself to meet.
func (rs *restorer) mediaRoom(ctx context.Context, r *room, free room, block int64) {
	for e, err := range rs.m.Media.Listing.entries(ctx, rs.rd, nil) {
		switch {
		case err != nil:
			return
		case e.Type != source.File:
			r.add(int64(len(e.Target)), block)
		case e.Link == "":
			r.add(dataBytes(ctx, rs.rd, &e.Content, free.bytes), block)
		}
	}
}

// dataBytes returns how many bytes of a stream are no holes, as far as its recipe can be read, and until they are more than most.
func dataBytes(ctx context.Context, rd blobReader, s *Recipe, most int64) (data int64) {
	if _, ok := s.blob(); ok || s.Size == 0 {
		return s.Size
	}
	wasHole := false
	for c, err := range s.chunks(ctx, rd) {
		if err != nil || c.Hole() && wasHole || data > most {
			break
		}
		if wasHole = c.Hole(); !wasHole {
			data += c.Length
		}
	}
	return data
}

// sizes returns the bytes of each component.
func (m *Manifest) sizes() map[string]int64 {
	s := map[string]int64{"postgres": m.Postgres.Size, "media": m.Media.Size}
	for _, f := range m.Secrets.Files {
		s["secrets"] += f.Size
	}
	for _, r := range m.Redises {
		s["redis"] += r.Size
	}
	return s
}
