package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"permafrost/snapshot"
	"permafrost/source"
	"permafrost/source/media"
)

// media stores the media tree, or where the media are.
func (c *creation) media(ctx context.Context) error {
	if x := c.inst.Media.External; x != nil {
		c.m.Media = snapshot.Media{State: snapshot.External, External: &snapshot.Bucket{Kind: x.Kind, Bucket: x.Bucket, Endpoint: x.Endpoint, Region: x.Region, Prefix: x.Prefix}, Local: c.localMedia(ctx)}
		return ctx.Err()
	}
	if err := c.inst.CheckMedia(); err != nil {
		return err
	}
	c.Progress.Start("media", -1)
	defer c.Progress.Done("media")
	o := c.Media
	if o.User == nil {
		o.User = c.inst.User
	}
	o.Open = c.inst.Media.Open
	t, err := media.Open(c.inst.Media.Root, o)
	if err != nil {
		return err
	}
	defer t.Close()
	previous := c.previous(ctx)
	rd, err := c.repo.NewReader(ctx, c.inst.Domain)
	if err != nil {
		return storageFailed(err)
	}
	from, denied := time.Now().UTC(), false
	var links leadingOut
	mc := &capture{in: c.in, tree: t, rd: rd, length: rd.Length, previous: previous,
		told: func(files, bytes int64) { c.Progress.Add("media", files, bytes) },
		same: sameness{c.IgnoreCTime, c.IgnoreInode},
		warn: func(path string, err error) {
			if errors.Is(err, fs.ErrPermission) {
				denied = true
			}
			c.warn("media", "%s was left out: %s", path, snapshot.Reason(err))
			links.note(err)
		},
		note: func(err error) { c.warn("media", "every file is read again: %v", err) },
	}
	out, err := mc.run(ctx)
	if err != nil {
		return err
	}
	if out.Files == 0 && previous != nil && previous.Media.Files > 0 && !c.AllowEmptyMedia {
		return source.Because(CauseEmptyMedia, fmt.Errorf("%s holds no file, and on %s it had %d", c.inst.Media.Root, previous.Date, previous.Media.Files))
	}
	if u := t.User(); u != nil && denied {
		c.warn("media", "the user %v, with whose rights media are read, may not read all of them: chown -R %d %s",
			u, u.UID, t.Root())
	}
	c.tellMedia(t, &mc.again)
	if text := links.advice(c.Media.Follow); text != "" {
		c.Warn(errors.New(text))
	}
	c.m.Boundary.MediaFrom, c.m.Boundary.MediaTo = from, time.Now().UTC()
	out.Root = snapshot.Text(c.inst.Media.Root)
	out.NoCache = c.Media.NoCache
	out.Excludes, out.Follow = texts(c.Media.Excludes), texts(c.Media.Follow)
	c.m.Users, c.m.Groups = t.Owners()
	c.m.Media = out
	return nil
}

func texts(names []string) (all []snapshot.Text) {
	for _, x := range names {
		all = append(all, snapshot.Text(x))
	}
	return all
}

// fewReread is how many files may have new owners or modes, and so be read again, without a word.
const fewReread = 20

// tellMedia says of which settings a run made no use, and which one it could make use of.
func (c *creation) tellMedia(t *media.Tree, again *reread) {
	for _, pattern := range t.Idle() {
		c.warn("media", "the exclude pattern %q matches nothing", pattern)
	}
	for _, dir := range t.Unfollowed() {
		c.warn("media", "no link leads into %s, which follow in permafrost.toml (--follow) names", dir)
	}
	if again.files <= fewReread {
		return
	}
	what, settings := "ctime", "ignore_ctime = true (--ignore-ctime)"
	switch {
	case again.ctime && again.inode:
		what, settings = "inode number and "+what, "ignore_inode = true (--ignore-inode) and "+settings
	case again.inode:
		what, settings = "inode number", "ignore_inode = true (--ignore-inode)"
	}
	c.warn("media", "%d files of %d KiB were read again: only their %s changed since the last snapshot. If that happens each night, set %s below [media]",
		again.files, again.bytes>>10, what, settings)
}

// maxLocal is how many files below the root are counted where the media are in object storage.
const maxLocal = 100_000

// localMedia counts the files below the root, where the media are in object storage: nothing stores them. Cached copies don't count.
func (c *creation) localMedia(ctx context.Context) (files int64) {
	o := media.Options{Excludes: []string{".*"}, NoCache: true, User: c.Media.User}
	if o.User == nil {
		o.User = c.inst.User
	}
	o.Open = c.inst.Media.Open
	t, err := media.Open(c.inst.Media.Root, o)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		c.warn("media", "they are in object storage; whether some are still on this host is unknown: %v", err)
		return 0
	}
	defer t.Close()
	for e := range t.Walk(ctx) {
		if e == nil || files == maxLocal {
			break
		}
		if e.Type == source.File {
			files++
		}
	}
	if files > 0 {
		more := map[bool]string{true: " or more", false: ""}[files == maxLocal]
		c.warn("media", "they are in object storage, but %s still holds %d%s files, which are not stored", t.Root(), files, more)
	}
	return files
}

// previous returns the newest snapshot of the instance that this key made and that has media, or nil. What it says of a file that
// looks unchanged is taken for the file's content: so nobody else's word will do. It only saves time: one that can't be read is no
// reason to fail.
func (c *creation) previous(ctx context.Context) *snapshot.Manifest {
	for _, ref := range slices.Backward(c.repo.Snapshots()) {
		if ref.Instance != c.inst.Domain || ref.Holding.Media.State != snapshot.Captured || !c.repo.IsOwn(ref) {
			continue
		}
		m, err := snapshot.Load(ctx, c.repo, ref)
		if err != nil {
			c.warn("media", "every file is read again: the snapshot of %s: %v", ref.Date, err)
			return nil
		}
		return m
	}
	return nil
}
