package store

import (
	"fmt"
	"strings"
)

// maxPath is the longest name of an object, in bytes. Every file system takes components of 255.
const maxPath = 255

// CheckPath returns an error unless object is a name that a Store takes, so that none can be made to leave its directory: a relative,
// slash-separated path of lower-case letters, digits, '.', '_' and '-', none of whose components is empty or begins with '.'.
func CheckPath(object string) error {
	if !IsPath(object) {
		return fmt.Errorf("%q is not a valid object name", object)
	}
	return nil
}

// CheckPrefix returns an error unless prefix is empty or a valid name followed by '/'.
func CheckPrefix(prefix string) error {
	if dir, ok := strings.CutSuffix(prefix, "/"); prefix == "" || ok && IsPath(dir) {
		return nil
	}
	return fmt.Errorf("%q is not a valid prefix of object names", prefix)
}

// IsPath reports whether CheckPath would return nil.
func IsPath(object string) bool {
	if len(object) == 0 || len(object) > maxPath {
		return false
	}
	for component := range strings.SplitSeq(object, "/") {
		if component == "" || component[0] == '.' {
			return false
		}
	}
	return strings.Trim(object, "abcdefghijklmnopqrstuvwxyz0123456789._-/") == ""
}

// Temp is the directory in which stores build what they have not published yet. Its objects are listed only where
// the prefix names it, and nobody else puts there.
const Temp = "tmp"

// InTemp reports whether an object lies below Temp.
func InTemp(object string) bool { return strings.HasPrefix(object, Temp+"/") }
