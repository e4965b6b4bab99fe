package media

import (
	"fmt"
	"strconv"
	"sync"
)

// losses counts what could not be restored, by kind.
type losses struct {
	warn  func(path string, err error)
	mu    sync.Mutex
	kinds map[string]*loss
	order []*loss
}

type loss struct {
	kind, path string
	err        error
	files      int
}

// maxKinds bounds the kinds: names of attributes are as many as a listing likes.
const maxKinds = 100

func (l *losses) add(kind, path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) >= maxKinds && l.kinds[kind] == nil {
		kind = "more not restored"
	}
	x := l.kinds[kind]
	if x == nil {
		x = &loss{kind: kind, path: path, err: err}
		if l.kinds == nil {
			l.kinds = make(map[string]*loss)
		}
		l.kinds[kind] = x
		l.order = append(l.order, x)
	}
	x.files++
}

// tell hands out the warnings, once.
func (l *losses) tell() {
	l.mu.Lock()
	all := l.order
	l.order, l.kinds = nil, nil
	l.mu.Unlock()
	if l.warn == nil {
		return
	}
	for _, x := range all {
		files := "1 file"
		if x.files != 1 {
			files = strconv.Itoa(x.files) + " files"
		}
		l.warn(x.path, fmt.Errorf("%s: %s: %w", files, x.kind, x.err))
	}
}
