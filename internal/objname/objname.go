// Package objname checks the names of objects, so that no store can be made to leave its directory.
package objname

import (
	"fmt"
	"path"
	"strings"
)

// maxLength of a name, in bytes. Every file system takes components of 255.
const maxLength = 255

// Check returns an error unless name is a relative, slash-separated path of lower-case letters, digits,
// '.', '_' and '-', none of whose components is empty or begins with '.'.
func Check(name string) error {
	if !Valid(name) {
		return fmt.Errorf("%q is not a valid object name", name)
	}
	return nil
}

// CheckPrefix returns an error unless prefix is empty or a valid name followed by '/'.
func CheckPrefix(prefix string) error {
	if dir, ok := strings.CutSuffix(prefix, "/"); prefix == "" || ok && Valid(dir) {
		return nil
	}
	return fmt.Errorf("%q is not a valid prefix of object names", prefix)
}

// Valid tells whether Check would return nil.
func Valid(name string) bool {
	if len(name) == 0 || len(name) > maxLength {
		return false
	}
	for component := range strings.SplitSeq(name, "/") {
		if component == "" || component[0] == '.' {
			return false
		}
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-/") == ""
}

// Shaped tells whether an object of a repository could have that name. What stands under another one is none, whoever put it.
func Shaped(name string) bool {
	dir, base := path.Split(name)
	switch dir {
	case "":
		return name == "config" || name == "reserve"
	case "log/":
		return isMadeOf(base, 10, "0123456789")
	case "leases/":
		return isMadeOf(base, 32, hexDigits)
	case "keys/":
		hash, ok := strings.CutSuffix(base, ".age")
		return ok && isMadeOf(hash, hashDigits, hexDigits)
	case "index/", "manifests/":
		return isMadeOf(base, hashDigits, hexDigits)
	}
	return isMadeOf(base, hashDigits, hexDigits) && dir == "packs/"+base[:2]+"/"
}

// Hash returns the SHA-256 that an object's content must have by its name, in lower-case hexadecimal; "" where it names none.
func Hash(name string) string {
	dir, base := path.Split(name)
	switch kind, _, _ := strings.Cut(dir, "/"); kind {
	case "keys", "index", "manifests", "packs":
		return strings.TrimSuffix(base, ".age")
	}
	return ""
}

const (
	hexDigits  = "0123456789abcdef"
	hashDigits = 64
)

func isMadeOf(s string, length int, digits string) bool {
	return len(s) == length && strings.Trim(s, digits) == ""
}

// Temp is the directory in which stores build what they have not published yet. Its objects are listed only where
// the prefix names it, and nobody else puts there.
const Temp = "tmp"

// InTemp tells whether name lies below Temp.
func InTemp(name string) bool { return strings.HasPrefix(name, Temp+"/") }
