package sandbox

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// imagePrograms are what an image has besides PostgreSQL's programs: what its servers, its shell and an entry point need.
var imagePrograms = []string{"redis-server", "redis-cli", "sh", "bash", "sleep", "cat", "head", "mktemp", "rm", "mkdir", "chmod", "chown", "id", "env", "ls", "mv", "rmdir", "stat", "redis-check-rdb"}

// imagePostgres are the programs of PostgreSQL's own directory.
var imagePostgres = []string{"initdb", "postgres", "pg_dump", "pg_restore", "psql", "pg_isready", "pg_ctl"}

const imagePasswd = `root:x:0:0:root:/root:/bin/sh
postgres:x:999:999::/var/lib/postgresql:/bin/sh
redis:x:998:998::/data:/bin/sh
mastodon:x:991:991::/opt/mastodon:/bin/sh
`

const imageGroup = "root:x:0:\npostgres:x:999:\nredis:x:998:\nmastodon:x:991:\n"

// WriteImage writes the file system of a container image as a tar archive: PostgreSQL, Redis and a shell, as Debian's packages
// have installed them on this machine, with the libraries that they need. No registry is asked.
func WriteImage(ctx context.Context, out io.Writer) error {
	bin, err := postgresBin()
	if err != nil {
		return err
	}
	im := &image{w: tar.NewWriter(out), seen: make(map[string]bool)}
	for _, dir := range []string{"bin", "etc", "opt/mastodon", "root", "run", "var/lib"} {
		im.dir(dir, 0o755)
	}
	im.dir("tmp", 0o1777)
	// A new volume takes over owner and mode of the directory that it is mounted on.
	for dir, uid := range map[string]int{"data": 998, "run/postgresql": 999, "var/lib/postgresql": 999, "opt/mastodon/public/system": 991} {
		im.add(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, Uid: uid, Gid: uid}, nil)
	}
	im.link("var/run", "/run")
	im.text("etc/passwd", imagePasswd)
	im.text("etc/group", imageGroup)
	im.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
	for _, name := range imagePrograms {
		path, err := find(name, "redis-server or coreutils")
		if err != nil {
			return err
		}
		im.program(ctx, path, "bin/"+name)
	}
	for _, name := range imagePostgres {
		path := filepath.Join(bin, name)
		im.program(ctx, path, path)
		im.link("bin/"+name, path)
	}
	lib, share := filepath.Join(filepath.Dir(bin), "lib"), "/usr/share/postgresql/"+filepath.Base(filepath.Dir(bin))
	im.tree(lib, func(name string) bool { return strings.HasSuffix(name, ".so") && !strings.Contains(name, "bitcode") })
	for _, name := range []string{"plpgsql.so", "pgcrypto.so"} { // of what is loaded later
		im.libraries(ctx, filepath.Join(lib, name))
	}
	im.tree(share, func(string) bool { return true })
	im.tree("/usr/lib/locale/C.utf8", func(string) bool { return true })
	im.tree("/usr/share/zoneinfo", func(name string) bool {
		return !strings.Contains(name, "/right/") && !strings.Contains(name, "/posix/")
	})
	return errors.Join(im.err, im.w.Close())
}

// An image is a tar archive while it is written. After its first error it takes nothing more.
type image struct {
	w    *tar.Writer
	seen map[string]bool
	err  error
}

// add writes one entry, and the directories above it first. What is there already is left.
func (im *image) add(h *tar.Header, content io.Reader) {
	h.Name = strings.Trim(filepath.Clean(h.Name), "/")
	if im.err != nil || im.seen[h.Name] {
		return
	}
	im.seen[h.Name] = true
	if dir := filepath.Dir(h.Name); dir != "." && !im.seen[dir] {
		im.dir(dir, 0o755)
	}
	if im.err = im.w.WriteHeader(h); im.err == nil && content != nil {
		_, im.err = io.Copy(im.w, content)
	}
}

func (im *image) dir(name string, mode int64) {
	im.add(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

func (im *image) link(name, to string) {
	im.add(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to, Mode: 0o777}, nil)
}

func (im *image) text(name, text string) {
	im.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}, strings.NewReader(text))
}

// file writes a file of this machine under a name; symbolic links are followed.
func (im *image) file(path, name string) {
	if im.err != nil {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		im.err = err
		return
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		im.err = err
		return
	}
	im.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(fi.Mode().Perm()), Size: fi.Size()}, f)
}

// tree writes the files below a directory that keep says yes to.
func (im *image) tree(root string, keep func(path string) bool) {
	if im.err != nil {
		return
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !keep(path) {
			return err
		}
		if fi, err := os.Stat(path); err != nil || !fi.Mode().IsRegular() {
			return err
		}
		im.file(path, path)
		return im.err
	})
	im.err = errors.Join(im.err, err)
}

// program writes a program and its libraries.
func (im *image) program(ctx context.Context, path, name string) {
	im.file(path, name)
	im.libraries(ctx, path)
}

var library = regexp.MustCompile(`(/\S+) \(0x`)

// libraries writes what the dynamic linker would load.
func (im *image) libraries(ctx context.Context, path string) {
	if im.err != nil {
		return
	}
	out, err := exec.CommandContext(ctx, "ldd", path).Output()
	if err != nil && !strings.Contains(string(out), "not a dynamic") {
		im.err = fmt.Errorf("ldd %s: %w", path, err)
		return
	}
	var libs []string
	for _, m := range library.FindAllStringSubmatch(string(out), -1) {
		libs = append(libs, m[1])
	}
	slices.Sort(libs)
	for _, lib := range libs {
		im.file(lib, lib)
	}
}
