package parts

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	whole := []byte("one, two and three")
	for _, p := range [][][]byte{nil, {whole}, {nil, whole[:4], nil, nil, whole[4:5], whole[5:], nil}, {whole[:17], whole[17:]}} {
		want := bytes.Join(p, nil)
		if Size(p) != int64(len(want)) {
			t.Errorf("size is %d, want %d", Size(p), len(want))
		}
		if err := iotest.TestReader(Reader(p), want); err != nil {
			t.Error(err)
		}
		if n, err := readerAt(p).ReadAt(make([]byte, 3), int64(len(want))); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
	}
	if _, err := readerAt(nil).ReadAt(nil, -1); err == nil {
		t.Error("a negative offset is read")
	}
}
