package chunk

import (
	"strings"
	"sync"
	"testing"
)

// The vectors are those of BLAKE3's authors.
func TestSum(t *testing.T) {
	var key IDKey
	copy(key[:], "whats the Elvish word for friend")
	for n, want := range map[int]string{
		0:    "92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
		1:    "6d7878dfff2f485635d39013278ae14f1454b8c0a3a2d34bc1ab38228a80c95b",
		1024: "75c46f6f3d9eb4f55ecaaee480db732e6c2105546f1e675003687c31719c7ba4",
	} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i % 251)
		}
		for range 2 { // the second time with a hasher that was used
			if got := key.Sum(data).String(); got != want {
				t.Errorf("%d bytes: %s, want %s", n, got, want)
			}
		}
	}
}

// Keys and goroutines do not get into each other's way.
func TestSumConcurrently(t *testing.T) {
	keys := []IDKey{{1}, {2}, {31: 1}}
	data := noise(1, 20000)
	want := make([]ID, len(keys))
	for i := range keys {
		want[i] = keys[i].Sum(data)
	}
	if want[0] == want[1] || want[0] == want[2] {
		t.Fatal("the key does not matter")
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				k := (i + g) % len(keys)
				if got := keys[k].Sum(data); got != want[k] {
					t.Errorf("key %d: %s, want %s", k, got, want[k])
					return
				}
				keys[k].Sum(data[:i])
			}
		})
	}
	wg.Wait()
}

func TestSumAllocates(t *testing.T) {
	key := IDKey{1}
	data := noise(2, 64<<10)
	key.Sum(data)
	// The garbage collector may empty the pool at any time.
	if n := testing.AllocsPerRun(100, func() { key.Sum(data) }); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseID(t *testing.T) {
	key := IDKey{1}
	id := key.Sum(nil)
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("%s, %v", got, err)
	}
	if id.IsZero() || !(ID{}).IsZero() {
		t.Error("IsZero")
	}
	for _, bad := range []string{"", "0", id.String()[1:], id.String() + "00", "x" + id.String()[1:], strings.Repeat("é", 32)} {
		if got, err := ParseID(bad); err == nil || !got.IsZero() {
			t.Errorf("%q: %s, %v", bad, got, err)
		}
	}
}
