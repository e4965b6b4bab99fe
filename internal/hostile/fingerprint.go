package hostile

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Fingerprint describes all that is below a directory, but for what is at or below the paths except: were anything written,
// made, given away or only touched, it would be another one.
func Fingerprint(dir string, except ...string) (string, error) {
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && slices.Contains(except, path) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		if err != nil {
			return err
		}
		content := ""
		switch {
		case d.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%x", sha256.Sum256(data))
		case d.Type()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
		}
		fmt.Fprintf(&all, "%q %d:%d inode %d mode %o size %d links %d mtime %d ctime %d %q\n", path, st.Uid, st.Gid, st.Ino, st.Mode, st.Size, st.Nlink,
			st.Mtim.Nano(), st.Ctim.Nano(), content)
		return err
	})
	return all.String(), err
}
