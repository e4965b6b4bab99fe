// Package compare tells whether what came back is what went in: media trees,
// databases and Redis servers, each reduced to a State that can be kept while
// the original moves on.
package compare

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// State names each part of something (a file, a table, a key) and describes
// it: equal descriptions, equal parts.
type State map[string]string

// Diff returns nil where got is the same as want, and else an error that shows
// the first differences.
func (want State) Diff(got State) error {
	const shown = 10
	var lines []string
	for name, w := range want {
		if g, ok := got[name]; !ok {
			lines = append(lines, fmt.Sprintf("%s: missing (want %s)", name, w))
		} else if g != w {
			lines = append(lines, fmt.Sprintf("%s:\n    want %s\n    got  %s", name, w, g))
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok {
			lines = append(lines, fmt.Sprintf("%s: unexpected (%s)", name, g))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	sort.Strings(lines)
	n := len(lines)
	if n > shown {
		lines = append(lines[:shown], fmt.Sprintf("and %d more", n-shown))
	}
	return errors.New("they differ:\n  " + strings.Join(lines, "\n  "))
}

// Tree describes everything below root, root itself by the name ".": type,
// mode, owner, time of change (of content), extended attributes; a file's size
// and SHA-256, and which name it shares its inode with; a link's target.
func Tree(root string) (State, error) {
	paths, infos, err := walk(root)
	if err != nil {
		return nil, err
	}
	descriptions := make([]string, len(paths))
	first := make(map[uint64]string) // inode to name, of files with several
	g := new(errgroup.Group)
	g.SetLimit(4)
	for i, path := range paths {
		link := ""
		if st := infos[i].Sys().(*syscall.Stat_t); st.Nlink > 1 && !infos[i].IsDir() {
			if _, ok := first[st.Ino]; !ok {
				first[st.Ino] = path
			}
			link = first[st.Ino]
		}
		g.Go(func() (err error) {
			descriptions[i], err = describe(filepath.Join(root, path), infos[i], link)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	state := make(State, len(paths))
	for i, path := range paths {
		state[path] = descriptions[i]
	}
	return state, nil
}

func walk(root string) (paths []string, infos []fs.FileInfo, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		paths, infos = append(paths, rel), append(infos, info)
		return err
	})
	return paths, infos, err
}

func describe(path string, info fs.FileInfo, link string) (string, error) {
	st := info.Sys().(*syscall.Stat_t)
	parts := []string{
		info.Mode().String(),
		fmt.Sprintf("%d:%d", st.Uid, st.Gid),
		info.ModTime().UTC().Format(time.RFC3339Nano),
	}
	switch {
	case info.Mode().IsRegular():
		sum, err := SHA256(path)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Sprintf("%d bytes", info.Size()), sum)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		parts = append(parts, "-> "+target)
	}
	if link != "" {
		parts = append(parts, "is "+link)
	}
	attributes, err := xattrs(path)
	return strings.Join(append(parts, attributes...), " "), err
}

// SHA256 returns a file's digest, in hexadecimal.
func SHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// xattrs lists "name=value" of the extended attributes.
func xattrs(path string) ([]string, error) {
	size, err := unix.Llistxattr(path, nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && size == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing extended attributes of %s: %w", path, err)
	}
	names := make([]byte, size)
	if size, err = unix.Llistxattr(path, names); err != nil {
		return nil, fmt.Errorf("listing extended attributes of %s: %w", path, err)
	}
	var out []string
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		value := make([]byte, 64<<10) // Linux allows no more
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("reading extended attribute %s of %s: %w", name, path, err)
		}
		out = append(out, fmt.Sprintf("%s=%q", name, value[:n]))
	}
	slices.Sort(out)
	return out, nil
}
