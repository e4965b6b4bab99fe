package snapshot

import "sync"

// Progress is told how far a run is. Its methods are called from several goroutines at once.
type Progress interface {
	Start(component string, total int64) // bytes to come, -1 where that is not known
	Add(component string, files, bytes int64)
	Done(component string)

	// Sending begins to tell of what goes to the storage: traffic returns how many bytes of packs are durable, and how
	// many there are so far. The name is one for Done.
	Sending(name string, traffic func() (sent, packed int64))
}

// NoProgress is a Progress for whoever does not want to know.
type NoProgress struct{}

// Start implements Progress.
func (NoProgress) Start(string, int64) {}

// Add implements Progress.
func (NoProgress) Add(string, int64, int64) {}

// Done implements Progress.
func (NoProgress) Done(string) {}

// Sending implements Progress.
func (NoProgress) Sending(string, func() (sent, packed int64)) {}

// OneByOne returns a function that calls f with one message at a time, whoever calls it. f may be nil.
func OneByOne[T any](f func(T)) func(T) {
	if f == nil {
		return func(T) {}
	}
	var mu sync.Mutex
	return func(msg T) {
		mu.Lock()
		defer mu.Unlock()
		f(msg)
	}
}
