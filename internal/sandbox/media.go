package sandbox

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// file is a media file, by what the database says of it.
type file struct {
	path    string // below public/system; empty where only a row tells of it
	name    string
	kind    string // MIME type
	size    int
	mode    fs.FileMode
	time    time.Time
	seed    rng    // of its content
	comment string // stands readable in its content
	remote  bool   // a copy of another server's file
}

// columns writes file name, content type, size and time as Paperclip keeps
// them.
func (f file) columns(r *rows) {
	if f.path == "" {
		r.null()
		r.null()
		r.null()
		r.null()
		return
	}
	r.texts(f.name, f.kind)
	r.int(int64(f.size))
	r.time(f.time)
}

// newFile makes a JPEG of low to high bytes, in Paperclip's directories for the
// attachment (say "accounts/avatars") of the record id.
func newFile(r *rng, remote bool, attachment string, id int64, low, high int, at time.Time) file {
	f := file{name: r.hex(8) + ".jpg", kind: "image/jpeg", size: r.between(low, high), mode: 0o644, time: at, remote: remote}
	f.path = filepath.Join(attachment, partition(id), "original", f.name)
	if remote {
		f.path = filepath.Join("cache", f.path)
	}
	f.seed = rng(r.next())
	return f
}

// as is the same picture in another style, such as "small", and size.
func (f file) as(style string, low, high int) file {
	f.path = filepath.Join(filepath.Dir(filepath.Dir(f.path)), style, f.name)
	f.size = f.seed.between(low, high)
	return f
}

func (w *world) avatar(k int) file {
	if k >= w.pictures {
		return file{}
	}
	f := newFile(w.rand(kindFile, k), k >= w.locals, "accounts/avatars", w.accountID(k), 10<<10, 40<<10, w.accountTime(k))
	if w.suspended(k) {
		f.mode = 0o600
	}
	return f
}

func (w *world) header(k int) file {
	if k >= w.pictures || k%4 != 0 {
		return file{}
	}
	f := newFile(w.rand(kindFile, -k-1), k >= w.locals, "accounts/headers", w.accountID(k), 30<<10, 130<<10, w.accountTime(k))
	if w.suspended(k) {
		f.mode = 0o600
	}
	return f
}

// suspended tells whether the pictures of the k-th account are hidden.
func (w *world) suspended(k int) bool {
	return k >= w.locals && w.rand(kindAccount, -k-1).chance(100)
}

// original is the file of the m-th attachment.
func (w *world) original(m int) file {
	remote := w.author(m*w.stride) >= w.locals
	if m < w.oldMedia {
		return file{remote: remote}
	}
	low, high := 50<<10, 400<<10
	if w.video(m) {
		low, high = 12<<20, 36<<20
	}
	f := newFile(w.rand(kindFile, 1<<40+m), remote, "media_attachments/files", w.mediaID(m), low, high, w.statusTime(m*w.stride))
	if w.video(m) {
		f.name, f.kind = f.name[:16]+".mp4", "video/mp4"
		f.path = filepath.Join(filepath.Dir(f.path), f.name)
	}
	return f
}

// video tells whether the m-th attachment is one: one of 250 are, the first
// soon.
func (w *world) video(m int) bool {
	if m < w.oldMedia {
		return false
	}
	v := m - (m-w.oldMedia)%250 + 5
	for {
		if _, ok := w.attachment(v * w.stride); ok {
			return m == v
		}
		v++
	}
}

// cardImage is the picture of a preview card.
func (w *world) cardImage(id int) file {
	if id <= w.oldCards {
		return file{}
	}
	return newFile(w.rand(kindFile, 2<<40+id), true, "preview_cards/images", int64(id), 4<<10, 20<<10, w.statusTime((id-1)*w.cards+1))
}

func (w *world) emoji(k int) file {
	return newFile(w.rand(kindFile, 3<<40+k), k%2 == 0, "custom_emojis/images", int64(k+1), 2<<10, 12<<10, dawn.Add(-history))
}

// upload is the instance's own picture, by a name and with a content that one
// can look for.
func (w *world) upload() file {
	f := newFile(w.rand(kindFile, 4<<40), false, "site_uploads/files", 1, 100<<10, 200<<10, dawn.Add(-history))
	f.name, f.comment = Markers.FileName, Markers.FileContent
	f.path = filepath.Join(filepath.Dir(f.path), f.name)
	return f
}

// fixedFiles are those that do not come with statuses.
func (w *world) fixedFiles() iter.Seq[file] {
	return func(yield func(file) bool) {
		if !yield(w.upload()) {
			return
		}
		for k := range w.emojis {
			if f := w.emoji(k); !yield(f) || !yield(f.as("static", 1<<10, 4<<10)) {
				return
			}
		}
		for k := range w.pictures {
			if !yield(w.avatar(k)) || !yield(w.header(k)) {
				return
			}
		}
	}
}

// flowingFiles are those of the statuses from (included) to (excluded).
func (w *world) flowingFiles(from, to int) iter.Seq[file] {
	return func(yield func(file) bool) {
		for k := from; k < to; k++ {
			if m, ok := w.attachment(k); ok {
				if f := w.original(m); f.path != "" && (!yield(f) || !yield(f.as("small", 15<<10, 60<<10))) {
					return
				}
			}
			if id, ok := w.card(k); ok && !yield(w.cardImage(id)) {
				return
			}
		}
	}
}

// tree writes media files, with the owner that the web server would have.
type tree struct {
	root     string
	uid, gid int // -1: as they come
}

// write makes the files, two at a time.
func (t *tree) write(ctx context.Context, files iter.Seq[file]) error {
	work := make(chan file, 64)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(work)
		for f := range files {
			if f.path == "" {
				continue
			}
			select {
			case work <- f:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range 2 {
		g.Go(func() error {
			buf := make([]byte, 256<<10)
			for f := range work {
				if err := t.writeFile(f, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (t *tree) writeFile(f file, buf []byte) error {
	path := filepath.Join(t.root, f.path)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.mode)
	if errors.Is(err, fs.ErrNotExist) {
		if err := t.mkdir(filepath.Dir(path)); err != nil {
			return err
		}
		out, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.mode)
	}
	if err != nil {
		return err
	}
	defer out.Close()
	r := f.seed
	for left := f.size; left > 0; {
		part := buf[:min(left, len(buf))]
		r.fill(part)
		if left == f.size {
			head := append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x48\x00\x48\x00\x00\xff\xfe\x00\x80"), f.comment...)
			copy(part, head)
		}
		if _, err := out.Write(part); err != nil {
			return err
		}
		left -= len(part)
	}
	if err := out.Chown(t.uid, t.gid); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Chtimes(path, f.time, f.time)
}

// fill fills b with what no compressor can make smaller.
func (r *rng) fill(b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, r.next())
	}
	for i := range b {
		b[i] = byte(r.next())
	}
}

// mkdir makes a directory and those above it.
func (t *tree) mkdir(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err = t.mkdir(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chown(path, t.uid, t.gid)
}

// links makes what admins leave in such a tree: a symbolic link and a second
// name of a file.
func (t *tree) links(w *world) error {
	original := w.upload().path
	if err := os.Symlink(filepath.Join("..", original), filepath.Join(t.root, "site_uploads", "current")); err != nil {
		return err
	}
	if err := os.Lchown(filepath.Join(t.root, "site_uploads", "current"), t.uid, t.gid); err != nil {
		return err
	}
	return os.Link(filepath.Join(t.root, original), filepath.Join(t.root, "site_uploads", "thumbnail.jpg"))
}
