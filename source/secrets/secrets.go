// Package secrets collects the small files that a Mastodon instance can't be restored without.
//
// The first is always .env.production. Then come the settings files beside it that Mastodon loads. The administrator asks for
// others: files, whole directories, or patterns. A Compose file, an nginx site and /etc/letsencrypt are usual.
//
// The path of such a file may lead through what Mastodon's user owns, or another user. A process of root then reads the file
// with that user's rights: see hostfs.Place.
package secrets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// Limits keep a directory that was given by mistake out of memory.
const (
	maxBytes  = 64 << 20
	maxFiles  = 10000
	maxPlaces = 2 * maxFiles // that were looked at: links may lead to the same directories over and over
)

// A File is one file with its content.
type File struct {
	Path  string // absolute, on the host that was backed up
	Data  []byte
	Mode  uint32 // permission bits with setuid, setgid and sticky: 07777
	UID   uint32
	GID   uint32
	MTime int64 // nanoseconds since 1970
}

// Options say what to collect beside .env.production, and what never.
type Options struct {
	Names []string          // of files, directories (all of them, sorted by name), or patterns as in path/filepath.Match
	Keys  []string          // key files of the repository: they are left out
	IsKey func([]byte) bool // reports whether a file's content is that of such a key file; may be nil
	Warn  func(string)      // is told of each file that is left out, and of a directory without any; may be nil
}

// Collect returns the instance's .env.production and the settings files beside it, as Load read them, and then the files that are asked for, in the order of the
// names, each path once.
//
// Symbolic links are followed and stored as what they point to, under their own path: /etc/letsencrypt/live
// holds nothing but links, and what two names lead to is stored under both. Inside a directory, links that lead nowhere or
// back up, and sockets, pipes and devices, are left out. Everything else that can't be read is an error: a secret that is
// missed is noticed too late.
func Collect(inst *source.Instance, o Options) ([]File, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	c := &collector{Options: o, names: make(map[string]bool)}
	err := c.add(File{Path: inst.EnvPath, Mode: inst.Mode, UID: inst.UID, GID: inst.GID, MTime: inst.MTime, Data: inst.Env})
	for _, f := range inst.Others {
		if err == nil {
			err = c.add(File(f))
		}
	}
	c.findKeys()
	for _, name := range o.Names {
		if err == nil {
			err = c.collect(name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("collecting secrets: %w", explain(err))
	}
	return c.files, nil
}

type collector struct {
	Options
	files   []File
	bytes   int
	places  int
	names   map[string]bool // paths in files
	keys    []fs.FileInfo   // of key files
	parents []fs.FileInfo   // directories that the one at hand lies in, by the way that was taken
}

// findKeys looks for the key files, which may have other names too.
func (c *collector) findKeys() {
	for _, path := range c.Keys {
		if abs, err := filepath.Abs(path); err == nil {
			if p, err := hostfs.Resolve(abs); err == nil {
				c.keys = append(c.keys, p.Info)
				p.Close()
			}
		}
	}
}

// collect adds what one of the names stands for.
func (c *collector) collect(name string) error {
	if strings.TrimSpace(name) == "" {
		return source.Because(CauseNoName, errors.New("an empty name was given"))
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	p, err := c.resolve(path)
	// A file may well have a bracket in its name; only what is not there is taken for a pattern.
	if errors.Is(err, fs.ErrNotExist) && strings.ContainsAny(path, `*?[\`) {
		return c.match(name, path)
	}
	if err != nil {
		return err
	}
	return c.addGiven(path, p)
}

// match adds what a pattern stands for.
func (c *collector) match(name, pattern string) error {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return fmt.Errorf("%s: %w", pattern, err)
	}
	paths, err := c.glob("/", strings.TrimPrefix(pattern, "/"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		p, err := c.resolve(path)
		if err == nil {
			err = c.addGiven(path, p)
		}
		if err != nil {
			return err
		}
	}
	if len(paths) == 0 {
		return source.Because(CauseNoMatch, fmt.Errorf("%s: no file matches", name))
	}
	return nil
}

// glob returns the paths below dir that match a pattern. A directory on the way is listed with the rights that it is read with.
func (c *collector) glob(dir, pattern string) ([]string, error) {
	first, rest, more := strings.Cut(pattern, "/")
	names := []string{first}
	if strings.ContainsAny(first, `*?[\`) {
		all, err := c.list(dir)
		if err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(all, func(name string) bool {
			ok, err := filepath.Match(first, name)
			return !ok || err != nil
		})
	}
	var paths []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if more {
			below, err := c.glob(path, rest)
			if err != nil {
				return nil, err
			}
			paths = append(paths, below...)
			continue
		}
		if p, err := c.resolve(path); err == nil {
			p.Close()
			paths = append(paths, path)
		} else if !missing(err) {
			return nil, err
		}
	}
	return paths, nil
}

// list returns the names in a directory, none where there is no such directory.
func (c *collector) list(dir string) ([]string, error) {
	p, err := c.resolve(dir)
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if !p.Info.IsDir() {
		return nil, nil
	}
	return p.Names(maxPlaces)
}

// missing reports whether there is nothing at a path.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

func (c *collector) resolve(path string) (*hostfs.Place, error) {
	if c.places++; c.places > maxPlaces {
		return nil, tooMuch(path)
	}
	return hostfs.Resolve(path)
}

// addGiven adds a file or a directory that was asked for.
func (c *collector) addGiven(path string, p *hostfs.Place) error {
	defer p.Close()
	switch {
	case p.Info.IsDir():
		before := len(c.names)
		if err := c.dir(path, p); err != nil {
			return err
		}
		if len(c.names) == before && !c.holds(path) {
			c.Warn(fmt.Sprintf("%s holds no file to store", path))
		}
		return nil
	case !p.Info.Mode().IsRegular():
		return fmt.Errorf("%s is neither a file nor a directory", path)
	}
	return c.file(path, p)
}

// holds reports whether files in a directory are stored.
func (c *collector) holds(dir string) bool {
	return slices.ContainsFunc(c.files, func(f File) bool { return strings.HasPrefix(f.Path, strings.TrimSuffix(dir, "/")+"/") })
}

// dir adds everything in a directory.
func (c *collector) dir(path string, p *hostfs.Place) error {
	if slices.ContainsFunc(c.parents, func(info fs.FileInfo) bool { return os.SameFile(info, p.Info) }) {
		return nil // a link leads back up: what is there has its names already
	}
	c.parents = append(c.parents, p.Info)
	defer func() { c.parents = c.parents[:len(c.parents)-1] }()
	names, err := p.Names(maxPlaces)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := c.entry(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	return nil
}

// entry adds what is in a directory under one name.
func (c *collector) entry(path string) error {
	p, err := c.resolve(path)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	switch {
	case p.Info.IsDir():
		return c.dir(path, p)
	case p.Info.Mode().IsRegular():
		return c.file(path, p)
	}
	return nil
}

// file reads one regular file.
func (c *collector) file(path string, p *hostfs.Place) error {
	if c.names[path] {
		return nil
	}
	if slices.ContainsFunc(c.keys, func(info fs.FileInfo) bool { return os.SameFile(info, p.Info) }) {
		c.leaveKey(path)
		return nil
	}
	data, info, err := p.ReadFile(int64(maxBytes - c.bytes))
	if errors.Is(err, hostfs.ErrTooLarge) {
		return tooMuch(path)
	}
	if err != nil {
		return err
	}
	if c.IsKey != nil && c.IsKey(data) {
		c.leaveKey(path)
		return nil
	}
	st := info.Sys().(*syscall.Stat_t)
	return c.add(File{
		Path: path, Mode: uint32(st.Mode) & 07777, UID: st.Uid, GID: st.Gid,
		MTime: info.ModTime().UnixNano(), Data: slices.Clip(data),
	})
}

func (c *collector) leaveKey(path string) {
	c.Warn(fmt.Sprintf("%s is a key file of permafrost and was not stored: a backup must not hold its own keys", path))
}

// explain gives the cause to an error of somebody whose rights don't suffice.
func explain(err error) error {
	switch {
	case errors.Is(err, hostfs.ErrUntrusted):
		return source.Because(CauseUntrusted, err)
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() == 0:
		return source.Because(CauseOfUser, err)
	}
	return err
}

// add appends a file unless its path is there already.
func (c *collector) add(f File) error {
	if c.names[f.Path] {
		return nil
	}
	c.bytes += len(f.Data)
	if c.bytes > maxBytes || len(c.files) == maxFiles {
		return tooMuch(f.Path)
	}
	c.names[f.Path] = true
	c.files = append(c.files, f)
	return nil
}

func tooMuch(path string) error {
	return source.Because(CauseTooMuch, fmt.Errorf("more than %d MiB or %d files at %s", maxBytes>>20, maxFiles, path))
}
