package media

import (
	"strings"
	"sync"

	"permafrost/source"
)

// Vanished is what was removed before a walk came to it.
type Vanished struct {
	Entries int64  // files and directories
	Below   int64  // files that were below these directories, as other directories of their depth let expect
	First   string // path of the first of them
}

// A vanishing counts what vanishes, and what does not: nobody knows what was in a directory that was removed.
type vanishing struct {
	mu     sync.Mutex
	found  Vanished
	levels []level // by depth
}

// A level is all that a walk meets at one depth.
type level struct{ dirs, files, vanished int64 }

func (v *vanishing) at(path string) *level {
	depth := 0
	if path != "." {
		depth = 1 + strings.Count(path, "/")
	}
	for len(v.levels) <= depth {
		v.levels = append(v.levels, level{})
	}
	return &v.levels[depth]
}

// met counts an entry that is there.
func (v *vanishing) met(e *source.Entry) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e.Type == source.Dir {
		v.at(e.Path).dirs++
	} else {
		v.at(e.Path).files++
	}
}

func (v *vanishing) file(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note(path)
}

func (v *vanishing) directory(path string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note(path)
	v.at(path).vanished++
}

func (v *vanishing) note(path string) {
	if v.found.Entries++; v.found.Entries == 1 {
		v.found.First = path
	}
}

func (v *vanishing) tell() Vanished {
	v.mu.Lock()
	defer v.mu.Unlock()
	told, below := v.found, int64(0) // files below the level
	for i := len(v.levels) - 1; i >= 0; i-- {
		l := &v.levels[i]
		told.Below += l.vanished * below / max(l.dirs, 1)
		below += l.files
	}
	return told
}
