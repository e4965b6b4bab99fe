// Package value reads what a command line, the environment or the configuration says to a flag: sizes, dates, shares and the like, each
// as a pflag.Value. Nothing that can't be meant is taken.
package value

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/pflag"

	"permafrost/source/media/pattern"
)

const (
	maxFlagText  = 4096 // bytes: no path is longer
	maxLabel     = 253  // of a domain, a name or a tag
	maxFlagTime  = 10 * 365 * 24 * time.Hour
	maxKeepCount = 1_000_000
)

// mayBeEmpty are the flags whose empty value means something.
var mayBeEmpty = []string{"cache-dir", "state-dir", "writer-key"}

// Check looks at what flags were given as text or as a time, wherever that came from: nothing that can't be meant is
// taken.
func Check(flags *pflag.FlagSet) (err error) {
	flags.VisitAll(func(f *pflag.Flag) {
		for _, text := range flagTexts(f) {
			if e := checkFlag(f, text); e != nil && err == nil {
				err = fmt.Errorf("--%s: %w", f.Name, e)
			}
		}
	})
	return err
}

// flagTexts returns what a flag was given.
func flagTexts(f *pflag.Flag) []string {
	text := f.Value.String()
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	if !f.Changed && text == f.DefValue {
		return nil
	}
	return []string{text}
}

func checkFlag(f *pflag.Flag, text string) error {
	if f.Value.Type() == "duration" {
		if d, err := time.ParseDuration(text); err != nil || d < 0 || d > maxFlagTime {
			return errors.New("write a time from 0 to ten years, such as 30m")
		}
		return nil
	}
	switch {
	case f.Value.Type() != "string" && f.Value.Type() != "stringArray":
		return nil // its Set has looked at it
	case text == "" && !slices.Contains(mayBeEmpty, f.Name):
		return errors.New("it is empty")
	case len(text) > maxFlagText:
		return fmt.Errorf("%d bytes are too many", len(text))
	case strings.ContainsFunc(text, unicode.IsControl):
		return errors.New("it has control characters")
	}
	switch f.Name {
	case "instance":
		return checkDomain(text)
	case "tag", "name":
		return checkLabel(text)
	case "keep-tag":
		for tag := range strings.SplitSeq(text, ",") {
			if err := checkLabel(tag); err != nil {
				return err
			}
		}
	case "exclude":
		_, err := pattern.Parse(text)
		return err
	}
	return nil
}

// checkLabel returns what keeps a tag or a name from being one. A tag with a comma could not be kept by --keep-tag.
func checkLabel(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("it is empty")
	case len(text) > maxLabel:
		return fmt.Errorf("%d bytes are too many", len(text))
	case strings.Contains(text, ","):
		return errors.New("it has a comma")
	}
	return nil
}

// checkDomain returns what keeps a text from being an instance's domain, perhaps with a port.
func checkDomain(text string) error {
	odd := func(r rune) bool {
		return r <= ' ' || r < 0x7f && !strings.ContainsRune("-.:_", r) && !isAlphanumeric(r)
	}
	if strings.ContainsFunc(text, odd) || len(text) > maxLabel {
		return errors.New("it is no domain: write one like social.example")
	}
	return nil
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}
