package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ReadAll returns all of an object of at most limit bytes. A longer one is a DamageError, an absent one fs.ErrNotExist.
func ReadAll(ctx context.Context, st Store, name string, limit int) ([]byte, error) {
	buf := make([]byte, min(limit, 32<<10))
	have := 0
	for {
		n, err := st.ReadAt(ctx, name, buf[have:], int64(have))
		have += n
		if err == io.EOF {
			return buf[:have:have], nil
		}
		if err != nil {
			return nil, err
		}
		if have == limit {
			if n, err := st.ReadAt(ctx, name, make([]byte, 1), int64(have)); n == 0 && err == io.EOF {
				return buf, nil
			}
			return nil, &DamageError{Object: name, Err: fmt.Errorf("longer than %d bytes", limit)}
		}
		room := 8 * len(buf)
		if have >= 2<<20 { // worth a question, so as not to hold several times what there is
			o, err := st.Stat(ctx, name)
			if err != nil {
				return nil, err
			}
			room = max(int(min(o.Size, int64(limit)))+1, have+1)
		}
		buf = append(make([]byte, 0, min(limit, room)), buf...)
		buf = buf[:cap(buf)]
	}
}

// ReadNamed returns all of an object that is named by its hash, which it verifies. An object that is absent, longer than limit bytes
// or of another hash is a DamageError.
func ReadNamed(ctx context.Context, st Store, object string, name Name, limit int) ([]byte, error) {
	data, err := ReadAll(ctx, st, object, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &DamageError{Object: object, Err: err}
	}
	if err != nil {
		return nil, err
	}
	if NameOf(data) != name {
		return nil, &DamageError{Object: object, Err: errors.New("its content does not match the hash in its name")}
	}
	return data, nil
}
