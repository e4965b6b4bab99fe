package media

import (
	"encoding/binary"
	"os/user"
	"slices"
	"strconv"

	"permafrost/internal/hostfs"
	"permafrost/source"
)

// owners maps the numbers of owners as they were to those of this machine.
type owners struct {
	users, groups map[uint32]uint32
	names         [2]map[uint32]string // that users and groups had, by their numbers here
	uid, gid      int                  // of the media's owner; root's where nobody else is known
}

func newOwners(o TargetOptions) owners {
	var all owners
	if !o.NumericIDs {
		all = ownersByName(o)
	}
	all.names = [2]map[uint32]string{namesHere(o.Users, all.users), namesHere(o.Groups, all.groups)}
	if u, err := hostfs.LookupUser(o.Owner); err == nil && o.Owner != "" {
		all.uid, all.gid = int(u.UID), int(u.GID)
	}
	return all
}

// own makes the owner of the tree's root the media's owner, unless that is root.
func (o *owners) own(root *source.Entry) {
	uid, gid := o.of(root)
	if uid != 0 {
		o.uid = uid
	}
	if gid != 0 {
		o.gid = gid
	}
}

// replaceRoot puts the media's owner and group in the place of root and root's, and reports whether that was needed.
func (o *owners) replaceRoot(uid, gid *int) bool {
	was, group := *uid, *gid
	if was == 0 {
		*uid = o.uid
	}
	if group == 0 {
		*gid = o.gid
	}
	return *uid != was || *gid != group
}

func ownersByName(o TargetOptions) owners {
	return owners{
		users: numbers(o.Users, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}),
		groups: numbers(o.Groups, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}),
	}
}

func numbers(names map[uint32]string, lookup func(string) (string, error)) map[uint32]uint32 {
	m := make(map[uint32]uint32)
	for was, name := range names {
		if id, err := lookup(name); err == nil {
			if n, err := strconv.ParseUint(id, 10, 32); err == nil {
				m[was] = uint32(n)
			}
		}
	}
	return m
}

// namesHere returns names by what their numbers are here.
func namesHere(names map[uint32]string, numbers map[uint32]uint32) map[uint32]string {
	m := make(map[uint32]string)
	for was, name := range names {
		m[here(numbers, was)] = name
	}
	return m
}

// here returns what a number is on this machine: the same, where its name is not known here.
func here(m map[uint32]uint32, id uint32) uint32 {
	if n, ok := m[id]; ok {
		return n
	}
	return id
}

// of returns the owner of e on this machine.
func (o *owners) of(e *source.Entry) (uid, gid int) {
	return int(here(o.users, e.UID)), int(here(o.groups, e.GID))
}

// acl returns a POSIX ACL with its users and groups as they are numbered here: behind a u32 version, which is 2, are
// entries of a u16 tag, a u16 of permissions and a u32 number, all little-endian. Anything else is returned as it is.
func (o *owners) acl(value []byte) []byte {
	const version, tagUser, tagGroup = 2, 0x02, 0x08
	if len(value)%8 != 4 || binary.LittleEndian.Uint32(value) != version {
		return value
	}
	value = slices.Clone(value)
	for e := value[4:]; len(e) > 0; e = e[8:] {
		id := binary.LittleEndian.Uint32(e[4:])
		switch binary.LittleEndian.Uint16(e) {
		case tagUser:
			id = here(o.users, id)
		case tagGroup:
			id = here(o.groups, id)
		}
		binary.LittleEndian.PutUint32(e[4:], id)
	}
	return value
}

// An Owner is one that files were to have and have not, as this machine numbers it.
type Owner struct {
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
	User  string `json:"user,omitempty"`  // the name that it had where the tree was walked
	Group string `json:"group,omitempty"` // likewise
	Files int64  `json:"files"`           // of all types, directories too
}

// maxOwners bounds the owners that are told apart.
const maxOwners = 1000

// other notes a file that does not belong to whom it should.
func (a *attributes) other(uid, gid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if key := [2]int{uid, gid}; a.others[key] > 0 || len(a.others) < maxOwners {
		a.others[key]++
	}
}

// misplaced returns the owners and groups that files should have and have not, the most frequent first.
func (a *attributes) misplaced() (all []Owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, n := range a.others {
		all = append(all, Owner{key[0], key[1], a.owners.names[0][uint32(key[0])], a.owners.names[1][uint32(key[1])], n})
	}
	slices.SortFunc(all, func(x, y Owner) int {
		switch {
		case x.Files != y.Files:
			return int(y.Files - x.Files)
		case x.UID != y.UID:
			return x.UID - y.UID
		}
		return x.GID - y.GID
	})
	return all
}
