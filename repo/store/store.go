package store

import (
	"context"
	"errors"
	"iter"
	"time"
)

// A Store is a flat namespace of immutable objects: the whole of what a repository asks of its storage.
//
// Names are slash-separated paths of lower-case letters, digits, '.', '_' and '-' ("packs/ab/ab12…",
// "log/0000000042"). A Store makes what directories it needs. Objects are at most MaxObject bytes long.
//
// Every method may be called from several goroutines at once. A Store retries what a lost connection or
// a passing fault interrupts, within a budget of its own; an error that it returns is final for that call.
// A cancelled context ends a call early, with the context's error; whether the operation was done is then unknown.
//
// Errors are tested with errors.Is: fs.ErrNotExist, fs.ErrExist, ErrNoSpace.
type Store interface {
	// Put creates the object name with the content data, its parts one behind the other. It is all or nothing: no reader ever sees a part, and
	// once Put has returned nil the object survives a crash of the storage. Where an object of that name stands
	// already Put fails with fs.ErrExist and changes nothing: of several that put one name at once a single one
	// succeeds. After a doubtful reply (the connection broke) the Store itself finds out: own content is success.
	Put(ctx context.Context, name string, data ...[]byte) error

	// ReadAt fills p with the object's bytes from offset off on. Like io.ReaderAt it returns io.EOF with n < len(p)
	// where the object ends before p is full. An absent object is fs.ErrNotExist.
	ReadAt(ctx context.Context, name string, p []byte, off int64) (n int, err error)

	// Stat returns the object's size and time, or fs.ErrNotExist.
	Stat(ctx context.Context, name string) (Object, error)

	// List yields, in no given order, every object whose name begins with prefix, which is empty or ends in '/'.
	// It sees each object whose Put returned before List was called, and that was not removed since. After an
	// error it yields no more.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// Remove deletes the object, durably. An absent one is fs.ErrNotExist.
	Remove(ctx context.Context, name string) error

	// RoundTrip returns how long a question to the storage takes, 0 for a near one. More objects are under way at once when it is
	// far. A Store in front of another one passes it on.
	RoundTrip() time.Duration
}

// An Object is what a Store knows of an object without reading it.
type Object struct {
	Name string
	Size int64     // bytes
	Time time.Time // when it was put, by the storage's clock
}

// MaxObject is the longest object that a repository puts or accepts, in bytes. Packs aim at repo.PackSize and may
// be longer by one frame; everything else is far smaller.
const MaxObject = 64 << 20

// ErrNoSpace is a Store's error when the storage is full or a quota is reached.
var ErrNoSpace = errors.New("no space left on the storage")

// maxRoundTrip bounds the memory that distance costs.
const maxRoundTrip = 120 * time.Millisecond
