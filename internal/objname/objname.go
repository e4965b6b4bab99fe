// Package objname checks the names of objects, so that no store can be made to leave its directory.
package objname

import (
	"fmt"
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

// Temp is the directory in which stores build what they have not published yet. Its objects are listed only where
// the prefix names it, and nobody else puts there.
const Temp = "tmp"

// InTemp tells whether name lies below Temp.
func InTemp(name string) bool { return strings.HasPrefix(name, Temp+"/") }
