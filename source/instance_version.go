package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"

	"permafrost/internal/hostfs"
)

// maxVersion bounds lib/mastodon/version.rb, in bytes. It has two thousand.
const maxVersion = 64 << 10

var (
	versionNumber = regexp.MustCompile(`(?m)^\s*def (major|minor|patch)\s+(\d{1,9})\s*$`)
	versionSuffix = regexp.MustCompile(`(?m)^\s*def (?:default_prerelease|suffix|flags)\s+'([0-9A-Za-z.+_-]{1,64})'\s*$`)
)

// Version returns the version of the Mastodon in the live directory, such as 4.3.1 or 4.4.0-rc.1, as its lib/mastodon/version.rb says;
// "" where that is not there.
func (inst *Instance) Version() (string, error) {
	name := filepath.Join(inst.Dir, "lib", "mastodon", "version.rb")
	var text []byte
	var err error
	if inst.User != nil {
		text, _, err = inst.User.ReadFile(name, maxVersion)
	} else {
		text, _, err = hostfs.ReadFile(name, maxVersion)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading Mastodon's version: %w", err)
	}
	numbers := make(map[string]string)
	for _, m := range versionNumber.FindAllSubmatch(text, -1) {
		numbers[string(m[1])] = string(m[2])
	}
	if len(numbers) < 3 {
		return "", fmt.Errorf("%s does not tell Mastodon's version", name)
	}
	version := numbers["major"] + "." + numbers["minor"] + "." + numbers["patch"]
	if m := versionSuffix.FindSubmatch(text); m != nil {
		version += "-" + strings.TrimLeft(string(m[1]), "-.")
	}
	return version, nil
}
