package store

import (
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A Kind is a kind of object that a repository consists of.
type Kind uint8

// The kinds of objects, in order of dependence: an object leads to objects of kinds before its own and, where it is a log entry, to
// entries with lower numbers.
const (
	None     Kind = iota // no object of a repository: nothing leads to what has such a name, whoever put it
	Config               // the repository's ID and format
	Reserve              // bytes that make room on a full storage
	Lease                // who is at work now
	Key                  // a wrapped keyring
	Pack                 // blobs
	Index                // which pack holds which blob
	Manifest             // a snapshot's manifest
	Log                  // a log entry
)

// kinds says how the objects of each kind are named.
var kinds = [...]struct {
	name   string // of the directory or, where length is 0, of the one object
	length int
	digits string
	suffix string
	hash   bool // the name is the SHA-256 of the content
}{
	Config:   {name: ConfigObject},
	Reserve:  {name: ReserveObject},
	Lease:    {"leases", 32, hexDigits, "", false},
	Key:      {"keys", hashDigits, hexDigits, ".age", true},
	Pack:     {"packs", hashDigits, hexDigits, "", true},
	Index:    {"index", hashDigits, hexDigits, "", true},
	Manifest: {"manifests", hashDigits, hexDigits, "", true},
	Log:      {"log", 10, "0123456789", "", false},
}

const (
	hexDigits  = "0123456789abcdef"
	hashDigits = 2 * len(Name{})
)

// The names of the two objects that are alone of their kind.
const (
	ConfigObject  = "config"
	ReserveObject = "reserve"
)

// MaxEntries is how many numbers the log has: all that ten digits can tell.
const MaxEntries = 10_000_000_000

// Hashed lists the kinds whose objects are named by the SHA-256 of their content.
func Hashed() []Kind { return []Kind{Key, Pack, Index, Manifest} }

// Dir returns the prefix of the names of a kind's objects, such as "packs/". It is not for Config and Reserve, which are one object
// each.
func (k Kind) Dir() string { return kinds[k].name + "/" }

// KindOfDir returns the kind of the objects below a top directory such as "packs", None for a directory without any.
func KindOfDir(dir string) Kind {
	for k := Lease; k <= Log; k++ {
		if kinds[k].name == dir {
			return k
		}
	}
	return None
}

// Object returns the name of an object of a kind that is named by its content's hash.
func (k Kind) Object(n Name) string {
	hash := n.String()
	if k == Pack {
		return k.Dir() + hash[:2] + "/" + hash
	}
	return k.Dir() + hash + kinds[k].suffix
}

// LeaseObject returns the name of a lease.
func LeaseObject(id [16]byte) string { return Lease.Dir() + hex.EncodeToString(id[:]) }

// LogObject returns the name of a log entry.
func LogObject(seq uint64) string { return fmt.Sprintf("%s%010d", Log.Dir(), seq) }

// Filler is what an owner puts under the numbers of lost entries when accepting that they are lost. Nobody can put an entry there
// then: neither a run under way that knows nothing of it, nor a signer who was on the roster at that place of the log.
const Filler = "permafrost: no entry is to stand here\n"

// Parse returns the kind of an object and the hash that its name tells, which is zero where it tells none.
func Parse(object string) (Kind, Name) {
	switch object {
	case ConfigObject:
		return Config, Name{}
	case ReserveObject:
		return Reserve, Name{}
	}
	dir, base := path.Split(object)
	top, _, _ := strings.Cut(dir, "/")
	kind := KindOfDir(top)
	k := &kinds[kind]
	digits, ok := strings.CutSuffix(base, k.suffix)
	if kind == None || !ok || len(digits) != k.length || strings.Trim(digits, k.digits) != "" {
		return None, Name{}
	}
	if !k.hash {
		if dir != kind.Dir() {
			return None, Name{}
		}
		return kind, Name{}
	}
	n, err := ParseName(digits)
	if err != nil || kind.Object(n) != object {
		return None, Name{}
	}
	return kind, n
}

// ParseLog returns the number of a log entry from its object's name.
func ParseLog(object string) (seq uint64, ok bool) {
	if kind, _ := Parse(object); kind != Log {
		return 0, false
	}
	seq, err := strconv.ParseUint(path.Base(object), 10, 64)
	return seq, err == nil
}
