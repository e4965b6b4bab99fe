package restore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"golang.org/x/sys/unix"

	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/stream"
	"permafrost/source"
	"permafrost/source/media"
)

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

// explain says of an error that comes from a full file system what is full, and gives each a cause after which a restore can go on.
func (rs *restorer) explain(err error) error {
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		if fault.IsDamage(err) || source.CauseOf(err).Cause != "" {
			return err
		}
		return source.Because(CauseInterrupted, err)
	}
	if free, _, ok := rs.dir.free(); ok {
		text := mebibytes(free.bytes) + " free"
		if free.inodes < math.MaxInt64 {
			text += fmt.Sprintf(" and inodes for %d files", free.inodes)
		}
		err = fmt.Errorf("%w: %s has %s", err, rs.Target, text)
	}
	return source.Because(CauseNoSpace, err)
}

// checkRoom looks whether the target's file system has room. Media are counted one by one only where the manifest's sums
// leave a doubt: it does not say what is holes, which need none.
func (rs *restorer) checkRoom(ctx context.Context, want map[string]bool) error {
	free, block, ok := rs.dir.free()
	if !ok {
		return nil // nobody knows
	}
	if rs.Preview != nil {
		return nil // nothing is written
	}
	need := rs.streamRoom(want, block)
	if want["media"] {
		if sure := need.withMedia(&rs.m.Media, block); sure.within(free) {
			return nil
		}
		if err := rs.mediaRoom(ctx, &need, free, block); err != nil {
			return err
		}
	}
	if need.within(free) {
		return nil
	}
	err := short(rs.Target, free, need)
	if rs.Force {
		rs.Warn(fmt.Errorf("%w: restoring anyway", err))
		return nil
	}
	return source.Because(CauseNoRoom, err)
}

func (r room) within(free room) bool { return r.bytes <= free.bytes && r.inodes <= free.inodes }

// short says what the target's file system has too little of.
func short(target string, free, need room) error {
	var parts []string
	if need.bytes > free.bytes {
		parts = append(parts, fmt.Sprintf("has %s free, and the snapshot needs %s", mebibytes(free.bytes), mebibytes(need.bytes)))
	}
	if need.inodes > free.inodes {
		parts = append(parts, fmt.Sprintf("has inodes for %d files, and the snapshot needs %d", free.inodes, need.inodes))
	}
	return fmt.Errorf("%s %s", target, strings.Join(parts, "; it "))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// withMedia adds the most that media can need by their sums.
func (r room) withMedia(m *snapshot.Media, block int64) room {
	if m.Size > math.MaxInt64-r.bytes || m.Listing.Entries > (math.MaxInt64-r.bytes-m.Size)/block {
		return room{math.MaxInt64, math.MaxInt64}
	}
	return room{r.bytes + m.Size + m.Listing.Entries*block, r.inodes + m.Listing.Entries}
}

// streamRoom returns the room for the components that are streams, but for what of them is there.
func (rs *restorer) streamRoom(want map[string]bool, block int64) (r room) {
	for _, s := range streamsOf(rs.m, want) {
		r.add(s.Size, block)
		if s.secret == nil {
			r.bytes -= min(r.bytes, rs.dir.Used(s.name))
		}
	}
	return r
}

// mediaRoom adds what the media need, entry by entry, but for files that are there. Of a file that is larger than what is free, no more is
// counted than tells that. An error of the snapshot is for the restore itself to meet.
func (rs *restorer) mediaRoom(ctx context.Context, r *room, free room, block int64) error {
	var there *media.Target
	if rs.mediaDir != nil {
		dir, err := rs.dir.Enter(mediaDir)
		if err != nil {
			return err
		}
		there = media.NewTarget(dir, media.TargetOptions{NumericIDs: rs.NumericIDs, Users: rs.m.Users, Groups: rs.m.Groups, Owner: rs.m.User, Trusted: rs.TrustMedia})
		defer there.Close()
	}
	for e, err := range snapshot.Entries(ctx, rs.rd, rs.m, ".") {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return nil
		case e.Path == "." && e.Type == source.Dir && there != nil:
			there.Own(&e.Entry)
		case !rs.choice.Has(e.Path, e.Type == source.Dir), there != nil && isThere(there, e):
		case e.Type != source.File:
			r.add(int64(len(e.Target)), block)
		case e.Link == "":
			r.add(dataBytes(ctx, rs.rd, &e.Content, free.bytes), block)
		}
	}
	return nil
}

// isThere reports whether a tree holds an entry already.
func isThere(t *media.Target, e *snapshot.Entry) bool {
	is, err := t.Look(&e.Entry)
	return err == nil && is == media.Same
}

// dataBytes returns how many bytes of a stream are no holes, as far as its recipe can be read, and until they are more than most.
func dataBytes(ctx context.Context, rd stream.Blobs, s *stream.Recipe, most int64) (data int64) {
	if _, ok := s.Blob(); ok || s.Size == 0 {
		return s.Size
	}
	wasHole := false
	for c, err := range s.Chunks(ctx, rd) {
		if err != nil || c.Hole() && wasHole || data > most {
			break
		}
		if wasHole = c.Hole(); !wasHole {
			data += c.Length
		}
	}
	return data
}
