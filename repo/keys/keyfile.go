package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"filippo.io/age"

	"permafrost/internal/hostfs"
	"permafrost/repo/cause"
	"permafrost/repo/store"
)

const (
	maxKeyFile = 64 << 10 // bytes of a key file

	// MaxWrapped is how many bytes a wrapped keyring may have.
	MaxWrapped = maxKeyFile

	commentMark  = "# permafrost"
	keyringLine  = "# permafrost-keyring-"
	checksumLine = "# permafrost-checksum-"
)

const (
	ownerNotice = `# permafrost recovery file. It opens every snapshot of the repository, and may delete them.
# Keep it off the host that is backed up, in a safe place or two: without it nothing can be restored.
# To restore: permafrost restore -r REPOSITORY -i THIS-FILE --date YYYY-MM-DD --target DIRECTORY
`
	writerNotice = `# permafrost writer file. It adds snapshots to the repository, and can't read their content back.
# Keep it on the host that is backed up, where only root can read it.
`
	byHandNotice = `#
# With the lines that begin with AGE-SECRET-KEY the plain age command, 1.3 or later, opens objects by hand:
# age -d -i THIS-FILE OBJECT
`
)

// KeyFile returns the keyring as a key file: see the package comment.
func (k *Keyring) KeyFile() ([]byte, error) {
	data, err := k.encode()
	if err != nil {
		return nil, err
	}
	if k.SignKey == nil {
		return nil, errors.New("keyring: no signing key")
	}
	var b bytes.Buffer
	if k.Role == RoleOwner {
		b.WriteString(ownerNotice)
	} else {
		b.WriteString(writerNotice)
	}
	fmt.Fprintf(&b, "#\n# repository:  %s\n# fingerprint: %s\n# role:        %s\n# name:        %s\n", store.Name(k.Repository), k.Fingerprint(), k.Role, k.Name)
	b.WriteString(byHandNotice)
	for _, id := range k.identities() {
		fmt.Fprintf(&b, "# %s:\n%s\n", id.what, id.identity)
	}
	sum := sha256.Sum256(data)
	fmt.Fprintf(&b, "#\n%s%d: %s\n%s%d: %s\n", keyringLine, keyringFormat, data, checksumLine, keyringFormat, hex.EncodeToString(sum[:]))
	if b.Len() > maxKeyFile {
		return nil, fmt.Errorf("key file would have %d bytes, more than %d", b.Len(), maxKeyFile)
	}
	return b.Bytes(), nil
}

type labelled struct {
	what     string
	identity *age.HybridIdentity
}

// identities returns every age identity of the keyring, with what it is for.
func (k *Keyring) identities() (ids []labelled) {
	for i := range k.Epochs {
		e := &k.Epochs[i]
		if e.DataIdentity != nil {
			ids = append(ids, labelled{fmt.Sprintf("data packs, epoch %d", e.Number), e.DataIdentity})
		}
		ids = append(ids, labelled{fmt.Sprintf("meta packs, index, manifests and log, epoch %d", e.Number), e.MetaIdentity})
	}
	if k.Identity != nil {
		ids = append(ids, labelled{"keys of later epochs", k.Identity})
	}
	return ids
}

// isKeyFile reports whether data claims to be a key file, of this or a newer version, or was one before it was cut.
func isKeyFile(data []byte) bool {
	return bytes.HasPrefix(data, []byte(commentMark)) || bytes.Contains(data, []byte("\n"+commentMark))
}

// IsFile reports whether data holds a key file, or a part of one.
func IsFile(data []byte) bool {
	for _, mark := range []string{keyringLine, "# permafrost recovery file", "# permafrost writer file"} {
		if bytes.Contains(data, []byte(mark)) {
			return true
		}
	}
	return false
}

// ParseFile reads a key file. Comments, white space at line ends, and CR LF are let pass; every byte that makes the
// keyring is checked, and the age identities beside it must be those in it.
func ParseFile(data []byte) (*Keyring, error) {
	k, err := parseKeyFile(data)
	if err != nil {
		return nil, fmt.Errorf("key file: %w", err)
	}
	return k, nil
}

func parseKeyFile(data []byte) (*Keyring, error) {
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("longer than %d bytes", maxKeyFile)
	}
	var keyring, checksum string
	var identities []string
	n := 0
	for line := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		n++
		line = strings.TrimSpace(line)
		var err error
		switch {
		case strings.HasPrefix(line, keyringLine):
			err = versioned(&keyring, line[len(keyringLine):])
		case strings.HasPrefix(line, checksumLine):
			err = versioned(&checksum, line[len(checksumLine):])
		case line == "", line[0] == '#':
		case strings.HasPrefix(line, "AGE-SECRET-KEY-"):
			identities = append(identities, line)
		default:
			err = cause.Errorf(cause.KeyFileNote, "neither a comment nor a key")
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
	sum := sha256.Sum256([]byte(keyring))
	switch {
	case keyring == "":
		return nil, cause.Errorf(cause.KeyFileDamaged, "damaged: no line begins with %q", keyringLine)
	case checksum == "":
		return nil, cause.Errorf(cause.KeyFileDamaged, "cut short: no line begins with %q", checksumLine)
	case checksum != hex.EncodeToString(sum[:]):
		return nil, cause.Errorf(cause.KeyFileDamaged, "damaged: the checksum does not match")
	}
	k, err := decodeKeyring([]byte(keyring))
	if err != nil {
		return nil, err
	}
	if k.SignKey == nil {
		return nil, errors.New("no signing key")
	}
	return k, k.checkIdentities(identities)
}

// versioned puts into to what follows the version of the format.
func versioned(to *string, s string) error {
	version, value, ok := strings.Cut(s, ": ")
	v, err := strconv.ParseUint(version, 10, 16)
	switch {
	case err != nil:
		return errors.New("malformed version")
	case v > keyringFormat:
		return fmt.Errorf("version %d: %w", v, store.ErrNewerFormat)
	case v != keyringFormat || !ok || value == "":
		return errors.New("malformed")
	case *to != "":
		return errors.New("a second one of its kind: one file holds one keyring")
	}
	*to = value
	return nil
}

// checkIdentities returns an error where a line is not one of the keyring's identities: the file was edited, or is
// damaged where only the plain age command would read it.
func (k *Keyring) checkIdentities(lines []string) error {
	known := k.identities()
	for _, line := range lines {
		if !slices.ContainsFunc(known, func(id labelled) bool { return id.identity.String() == line }) {
			return cause.Errorf(cause.KeyFileEdited, "an AGE-SECRET-KEY line is not part of the keyring")
		}
	}
	return nil
}

// WriteFile writes a key file that only its owner can read, durably. It never overwrites: where something is at
// path already it fails with fs.ErrExist. It works on file systems without hard links, such as a memory stick's; what
// a crash leaves is recognised by its checksum.
//
// Root writes keys only where root alone decides which directory they go to.
func WriteFile(path string, k *Keyring) error {
	data, err := k.KeyFile()
	if err != nil {
		return err
	}
	dir, name, err := keyDir(path)
	if err == nil {
		err = dir.Create(name, data)
		dir.Close()
	}
	if errors.Is(err, fs.ErrExist) {
		err = cause.Of(cause.KeyFileExists, err)
	}
	if err != nil {
		return fmt.Errorf("writing the key file %s: %w", path, err)
	}
	return nil
}

// keyDir opens the directory that a key file is in, and returns the file's name there.
func keyDir(path string) (*hostfs.Dir, string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, "", err
	}
	dir, err := hostfs.OpenDir(filepath.Dir(path))
	if err == nil {
		if err = dir.RootsOwn(); err != nil {
			dir.Close()
		}
	}
	if shared := (*hostfs.SharedError)(nil); errors.As(err, &shared) {
		err = cause.Of(cause.KeyFileShared, err)
	}
	return dir, filepath.Base(path), err
}

// ReplaceFile puts a grown keyring in place of the key file at path, atomically and durably, and keeps the file's
// owner and mode. It refuses to replace the key file of somebody else or of another repository.
func ReplaceFile(path string, k *Keyring) error {
	if err := replaceKeyFile(path, k); err != nil {
		return fmt.Errorf("replacing key file %s: %w", path, err)
	}
	return nil
}

func replaceKeyFile(path string, k *Keyring) error {
	data, err := k.KeyFile()
	if err != nil {
		return err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	dir, name, err := keyDir(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	old, info, err := readBounded(path)
	if err != nil {
		return err
	}
	if isEncrypted(old) {
		return cause.Of(cause.KeyFilePassphrase, errors.New("it is encrypted with a passphrase"), path)
	}
	had, err := ParseFile(old)
	if err != nil {
		return err
	}
	if !had.SignKey.Equal(k.SignKey) || had.Repository != k.Repository || len(had.Epochs) > len(k.Epochs) {
		return errors.New("it holds other keys")
	}
	return dir.Replace(name, func(f *os.File) error {
		if _, err := f.Write(data); err != nil {
			return err
		}
		return keepOwner(f, info)
	})
}

// keepOwner gives f the mode of another file and, where that is somebody else's, its owner.
func keepOwner(f *os.File, info fs.FileInfo) error {
	if err := f.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	have, err := f.Stat()
	if err != nil {
		return err
	}
	was, is := info.Sys().(*syscall.Stat_t), have.Sys().(*syscall.Stat_t)
	if was.Uid == is.Uid && was.Gid == is.Gid {
		return nil
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}
