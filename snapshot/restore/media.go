package restore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"permafrost/repo/store"
	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/snapshot/restore/internal/fault"
	"permafrost/snapshot/restore/internal/tree"
	"permafrost/source"
	"permafrost/source/media"
)

// media restores the media, or says where they are.
func (rs *restorer) media(ctx context.Context) error {
	if rs.m.Media.State != snapshot.Captured {
		return nil
	}
	target, fresh, err := rs.newTarget()
	if err != nil {
		return fault.OfTarget(fmt.Errorf("%s: %w", mediaDir, err))
	}
	defer target.Close()
	t := rs.tree(target, fresh)
	err = t.Write(ctx)
	for _, text := range rs.choice.Idle() {
		rs.Warn(errors.New(text + " matches nothing in the media of this snapshot"))
	}
	if err == nil && rs.Delete {
		err = rs.sweep(ctx, t)
	}
	if err == nil {
		err = t.Finish(ctx)
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.out.Owners = target.Owners()
	if err == nil && rs.out.Lost > 0 {
		err = &store.DamageError{Object: "media", Err: fmt.Errorf("%d files could not be restored", rs.out.Lost)}
	}
	return err
}

// tree returns the media on their way into target. Where that is nil they are looked at, and nothing is written.
func (rs *restorer) tree(target *media.Target, fresh bool) *tree.Tree {
	return tree.New(tree.Options{Blobs: rs.rd, Manifest: rs.m, Choice: rs.choice, Target: target, Fresh: fresh,
		Keep: rs.overwrite == Never, Read: rs.doubt || rs.overwrite == Always, News: mediaNews{rs}})
}

// mediaNews counts in the result what becomes of media.
type mediaNews struct{ rs *restorer }

func (n mediaNews) add(files *int64, sum *atomic.Int64, f, b int64) {
	n.rs.mu.Lock()
	*files += f
	n.rs.mu.Unlock()
	sum.Add(b)
	n.rs.Progress.Add("media", f, b)
}

func (n mediaNews) Wrote(files, bytes int64) { n.add(&n.rs.out.Files, &n.rs.size, files, bytes) }

func (n mediaNews) Kept(files, bytes int64) { n.add(&n.rs.out.KeptFiles, &n.rs.kept, files, bytes) }

func (n mediaNews) Refused(path string, err error) { n.rs.refuse(mediaDir+"/"+path, err) }

func (n mediaNews) Lost(path string, err error) {
	n.rs.mu.Lock()
	defer n.rs.mu.Unlock()
	out := &n.rs.out
	out.Lost++
	if len(out.LostList) < maxListed {
		out.LostList = append(out.LostList, snapshot.LeftOut{Path: snapshot.Text(path), Reason: snapshot.Reason(err)})
	}
	n.rs.Warn(fmt.Errorf("%s could not be restored: %w", path, err))
}

// sweep removes the media that are there and that the snapshot does not have, or tells them where only a preview is wanted.
func (rs *restorer) sweep(ctx context.Context, t *tree.Tree) error {
	selected, err := removable(&rs.m.Media, rs.choice)
	if err != nil {
		return err
	}
	return t.Sweep(ctx, media.Sweep{Selected: selected, Dry: rs.Preview != nil,
		Found: func(path string, dir bool) {
			rs.out.Deleted++
			if rs.Preview != nil {
				rs.Preview(Planned{Action: WouldDelete, Path: snapshot.Text(mediaDir + "/" + path)})
			}
		},
		Left: func(path string, err error) { rs.refuse(mediaDir+"/"+path, fmt.Errorf("removing it: %w", err)) }})
}

// removable returns a function that reports whether a file or directory is meant, and would be in the snapshot if the host had had it.
func removable(m *snapshot.Media, meant *choice.Choice) (func(path string, dir bool) bool, error) {
	var without []string
	for _, text := range m.Excludes {
		without = append(without, string(text))
	}
	spared, err := choice.New(nil, without, [2]string{1: "the snapshot was made without what a pattern matches, which is not understood"})
	if err != nil {
		return nil, source.Because(CauseNoDelete, err)
	}
	left := make(map[string]bool)
	for _, l := range m.Left {
		left[string(l.Path)] = true
	}
	return func(path string, dir bool) bool {
		if m.NoCache && media.Cached(path) || !spared.Has(path, dir) || !meant.Has(path, dir) {
			return false
		}
		for p := path; ; p = p[:strings.LastIndexByte(p, '/')] {
			if left[p] {
				return false
			}
			if !strings.Contains(p, "/") {
				return true
			}
		}
	}, nil
}

// checkDelete looks whether it is known which media the snapshot does not have.
func checkDelete(m *snapshot.Media, wanted bool) error {
	switch {
	case !wanted || m.State != snapshot.Captured:
		return errors.New("there is nothing to delete: media are not restored")
	case m.Files == 0:
		return errors.New("the snapshot has no media files: all that are there would be deleted")
	case m.LeftOut > len(m.Left):
		return source.Because(CauseNoDelete, fmt.Errorf("%d files could not be read for the snapshot, which does not name them all: they might be deleted", m.LeftOut))
	}
	return nil
}
