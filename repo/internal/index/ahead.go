package index

import (
	"context"
	"iter"

	"permafrost/repo/store"
)

// How many index objects are read from the store at once: a night's is small, and costs its round trips; one of a first
// night has up to 4 MiB, and costs memory.
const (
	aheadSmall = 8
	aheadLarge = 2
	largeIndex = 1 << 20
)

// A fetchedObject is what came of reading an object.
type fetchedObject struct {
	name store.Name
	data []byte
	err  error
}

// ahead yields what get gets for each name, in order, while it gets the next ones.
func ahead(ctx context.Context, names []store.Name, get func(context.Context, store.Name) ([]byte, error)) iter.Seq[fetchedObject] {
	return func(yield func(fetchedObject) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var under []chan fetchedObject
		most := aheadLarge
		for i := range names {
			for len(under) < most && i+len(under) < len(names) {
				next, c := names[i+len(under)], make(chan fetchedObject, 1)
				under = append(under, c)
				go func() {
					data, err := get(ctx, next)
					c <- fetchedObject{next, data, err}
				}()
			}
			c := under[0]
			under = under[1:]
			r := <-c
			most = aheadSmall
			if len(r.data) >= largeIndex {
				most = aheadLarge
			}
			if !yield(r) {
				return
			}
		}
	}
}
