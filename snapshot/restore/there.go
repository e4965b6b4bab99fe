package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"permafrost/snapshot"
	"permafrost/snapshot/restore/internal/choice"
	"permafrost/source"
	"permafrost/source/media"
)

// A fate is what becomes of an entry's path in the target.
type fate int

const (
	written fate = iota // the entry is put there
	kept                // what is there stays
	adopted             // what is there has the content, and gets the attributes
)

// fate says what becomes of an entry that is no directory and no further name.
func (mr *mediaRestore) fate(ctx context.Context, e *snapshot.Entry) (fate, error) {
	if mr.fresh {
		return written, nil
	}
	is, err := mr.target.Look(&e.Entry)
	switch {
	case err != nil:
		return kept, &writeError{err}
	case is == media.Absent:
		return written, nil
	case mr.overwrite == Never:
		return kept, nil
	case is == media.Other:
		return written, nil
	case e.Type != source.File, e.Size == 0, is == media.Same && !mr.doubt && mr.overwrite != Always:
		if is == media.Same {
			return kept, nil
		}
		return written, nil
	}
	// Size and time may be those of another file: what is in it decides.
	same, err := mr.read(ctx, e, nil)
	switch {
	case err != nil || !same:
		return written, err
	case is == media.Same:
		return kept, nil
	}
	return adopted, nil
}

// read reports whether the file that is there has an entry's content, and copies that to to, unless that is nil.
func (mr *mediaRestore) read(ctx context.Context, e *snapshot.Entry, to *media.TargetFile) (bool, error) {
	f, err := mr.target.Open(&e.Entry)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	old := oldFile{rd: mr.rd, f: f, buf: mr.old}
	defer func() { mr.old = old.buf }()
	if to == nil {
		return old.matches(ctx, e, nil)
	}
	return old.matches(ctx, e, to)
}

// stays reports whether nothing is to be fetched for an entry: what is there stays, or is adopted, or the target refuses it.
func (mr *mediaRestore) stays(ctx context.Context, e *snapshot.Entry) (bool, error) {
	f, err := mr.fate(ctx, e)
	var local *writeError
	switch {
	case errors.As(err, &local):
		return true, mr.settle(e, err)
	case err != nil || f == written:
		return false, err
	case f == adopted:
		if done, err := mr.adopt(ctx, e); err != nil || !done {
			return err != nil, err
		}
	}
	if e.Type == source.File {
		mr.kept(1, e.Size)
	}
	return true, nil
}

// adopt gives a file that is there an entry's attributes, or puts a copy of it in its place. It reports whether it could.
func (mr *mediaRestore) adopt(ctx context.Context, e *snapshot.Entry) (bool, error) {
	f, err := mr.target.Open(&e.Entry)
	if err != nil {
		return false, nil
	}
	defer f.Close()
	done, err := mr.target.Adopt(f, &e.Entry)
	if err != nil || done {
		return err == nil, nil
	}
	to, err := mr.target.Create(&e.Entry)
	if err != nil {
		return false, nil // who writes it meets that too
	}
	if same, err := mr.read(ctx, e, to); err != nil || !same {
		mr.target.Discard(to)
		return false, err
	}
	return mr.target.Finish(to, &e.Entry) == nil, nil
}

// checkDelete looks whether it is known what the snapshot does not have.
func (rs *restorer) checkDelete(want map[string]bool) error {
	m := &rs.m.Media
	switch {
	case !rs.Delete:
		return nil
	case !want["media"] || m.State != snapshot.Captured:
		return errors.New("there is nothing to delete: media are not restored")
	case m.Files == 0:
		return errors.New("the snapshot has no media files: all that are there would be deleted")
	case m.LeftOut > len(m.Left):
		return source.Because(CauseNoDelete, fmt.Errorf("%d files could not be read for the snapshot, which does not name them all: they might be deleted", m.LeftOut))
	}
	return nil
}

// sweep removes what is in the tree, is meant, and is not in the snapshot though it would be if the host had had it.
func (rs *restorer) sweep(ctx context.Context, mr *mediaRestore, dry bool) error {
	var without []string
	for _, text := range rs.m.Media.Excludes {
		without = append(without, string(text))
	}
	spared, err := choice.New(nil, without, [2]string{1: "the snapshot was made without what a pattern matches, which is not understood"})
	if err != nil {
		return source.Because(CauseNoDelete, err)
	}
	left := make(map[string]bool)
	for _, l := range rs.m.Media.Left {
		left[string(l.Path)] = true
	}
	selected := func(path string, dir bool) bool {
		if rs.m.Media.NoCache && media.Cached(path) || !spared.Has(path, dir) || !rs.choice.Has(path, dir) {
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
	}
	return mr.target.Sweep(ctx, mr.entries(ctx), media.Sweep{Selected: selected, Dry: dry,
		Found: func(path string, dir bool) {
			rs.out.Deleted++
			if dry {
				rs.Plan(Planned{Action: WouldDelete, Path: snapshot.Text(mediaDir + "/" + path)})
			}
		},
		Left: func(path string, err error) { rs.refuse(mediaDir+"/"+path, fmt.Errorf("removing it: %w", err)) }})
}

// entries yields the listing as a Target reads it.
func (mr *mediaRestore) entries(ctx context.Context) iter.Seq2[*source.Entry, error] {
	return func(yield func(*source.Entry, error) bool) {
		for e, err := range snapshot.Entries(ctx, mr.rd, mr.m, ".") {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&e.Entry, nil) {
				return
			}
		}
	}
}

// settle takes the error of writing a file of the target: what the target refuses is noted, and no error.
func (rs *restorer) settle(name string, err error) error {
	if !media.Refuses(err) {
		return &writeError{err}
	}
	rs.refuse(name, err)
	return nil
}

// refuse notes a file that the target does not take, and names it.
func (rs *restorer) refuse(name string, err error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.out.Refused++; len(rs.out.RefusedList) < maxListed {
		rs.out.RefusedList = append(rs.out.RefusedList, snapshot.LeftOut{Path: snapshot.Text(name), Reason: snapshot.Reason(err)})
		rs.Warn(fmt.Errorf("%s was left out, because the target refuses it: %s", name, snapshot.Reason(err)))
	}
}
