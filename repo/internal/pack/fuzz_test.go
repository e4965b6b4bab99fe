package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"permafrost/chunk"
	"permafrost/internal/fuzzing"
	"permafrost/internal/parts"
	"permafrost/internal/storetest"
	"permafrost/internal/wire"
	"permafrost/repo/keys"
	"permafrost/repo/keys/keystest"
)

// perByte bounds what a parser of binary input may allocate for each byte of it.
const perByte = 8

// A packed is a pack as a writer makes it, and its plaintext.
type packed struct {
	*Pack
	plain []byte
}

// newPacked returns a pack of a compressed frame of several blobs and one that is stored as it is.
func newPacked(tb testing.TB, k *keys.Keyring) packed {
	tb.Helper()
	b, err := newBuilder(func() ([]byte, error) { return make([]byte, 0, 64<<10), nil }, k.CurrentEpoch(), "social.example", Media)
	if err != nil {
		tb.Fatal(err)
	}
	out := []byte(Magic)
	var scratch []byte
	for i, data := range [][]byte{text(600), storetest.Random(1, 50)} {
		stored, c, err := encodeFrame(nil, data, &scratch)
		if err != nil || int(c) != 1-i {
			tb.Fatalf("frame %d: codec %d, %v", i, c, err)
		}
		f := Frame{Codec: c, Stored: len(stored)}
		for blob := range slices.Chunk(data, 1+len(data)/2) {
			f.Blobs = append(f.Blobs, Blob{k.CurrentEpoch().DataKey.Sum(blob), len(blob)})
		}
		if err := b.add(f, stored); err != nil {
			tb.Fatal(err)
		}
		out = append(out, stored...)
	}
	p, sealed, err := b.finish()
	if err != nil || parts.Size(sealed) != p.Size {
		tb.Fatal(err)
	}
	return packed{p, appendFooter(out, p.Directory.Append(nil))}
}

// appendFooter ends a pack's plaintext.
func appendFooter(plain, dir []byte) []byte {
	plain = append(plain, dir...)
	return append(binary.LittleEndian.AppendUint64(plain, uint64(len(dir))), EndMagic...)
}

func FuzzFrame(f *testing.F) {
	decoder() // its own memory is not the frames'
	for _, plain := range [][]byte{text(1), text(5000), storetest.Random(1, 300), append(storetest.Random(2, 200), text(3000)...), make([]byte, 1<<20)} {
		var scratch []byte
		stored, c, err := encodeFrame(nil, plain, &scratch)
		if err != nil || len(stored) == 0 {
			f.Fatal(err)
		}
		f.Add(stored, byte(c), uint32(len(plain)))
	}
	f.Fuzz(func(t *testing.T, stored []byte, c byte, length uint32) {
		n := int(length % (maxFrame + 1))
		var plain []byte
		var err error
		fuzzing.Bound(t, n+perByte*len(stored), func() { plain, err = DecodeFrame(nil, stored, Codec(c)%codecCount, n) })
		if err != nil {
			return
		}
		if len(plain) != n {
			t.Fatalf("%d bytes, want %d", len(plain), n)
		}
		var scratch []byte
		if _, _, err := encodeFrame(nil, plain, &scratch); err != nil {
			t.Error(err)
		}
	})
}

func FuzzDirectory(f *testing.F) {
	parse := func(b []byte) error { _, err := parseDirectory(b); return err }
	var seeds [][]byte
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		seeds = append(seeds, fittingPack(rng).Directory.Append(nil))
	}
	fuzzing.Seed(f, parse, seeds...)
	f.Fuzz(func(t *testing.T, b []byte) {
		var d *Directory
		var err error
		fuzzing.Bound(t, perByte*len(b), func() { d, err = parseDirectory(b) })
		if err == nil {
			checkDirectory(t, d, b)
		}
	})
}

// checkDirectory demands of a directory that was read what its readers rely on.
func checkDirectory(t *testing.T, d *Directory, b []byte) {
	t.Helper()
	if again := d.Append(nil); !bytes.Equal(again, b) {
		t.Errorf("%x\n is read and written as\n%x", b, again)
	}
	if d.Epoch == 0 || d.Epoch > maxEpoch || d.Component >= Components || len(d.Frames) == 0 {
		t.Errorf("epoch %d, component %d, %d frames", d.Epoch, d.Component, len(d.Frames))
	}
	for _, f := range d.Frames {
		if f.Length() > maxFrame || f.Stored > maxFrame || f.Codec >= codecCount || len(f.Blobs) == 0 {
			t.Errorf("frame of %d bytes, %d stored, codec %d", f.Length(), f.Stored, f.Codec)
		}
		for _, b := range f.Blobs {
			if b.Length < 1 || b.Length > chunk.MaxSize || b.ID.IsZero() {
				t.Errorf("blob %v of %d bytes", b.ID, b.Length)
			}
		}
	}
}

// fittingPack returns a pack whose size is what its directory says, as no other is taken.
func fittingPack(rng *rand.Rand) *Pack {
	p := &Pack{Header: 1 + rng.IntN(MaxAgeHeader)}
	binary.BigEndian.PutUint64(p.Name[:], rng.Uint64())
	p.Epoch, p.Component = 1+uint32(rng.IntN(3)), Component(rng.IntN(int(Components)))
	for range 1 + rng.IntN(3) {
		f := Frame{Codec: Codec(rng.IntN(2))}
		for range 1 + rng.IntN(9) {
			b := Blob{Length: 1 + rng.IntN(chunk.MaxSize/8)}
			binary.BigEndian.PutUint64(b.ID[:], 1+rng.Uint64N(9))
			f.Blobs = append(f.Blobs, b)
		}
		p.Frames = append(p.Frames, f)
	}
	plain := int64(len(Magic) + footerSize)
	for i := range p.Frames {
		f := &p.Frames[i]
		f.Stored = 1 + rng.IntN(f.Length())
		if f.Codec == Raw {
			f.Stored = f.Length()
		}
		plain += int64(f.Stored)
	}
	plain += int64(len(p.Directory.Append(nil)))
	p.Size = int64(p.Header) + plain + (plain+AgeChunk-1)/AgeChunk*AgeOverhead
	return p
}

// FuzzPack reads the plaintext of a whole pack: footer, directory and each frame where the directory says it is.
func FuzzPack(f *testing.F) {
	decoder()
	k := keystest.Read(f, "../../keys/testdata/recovery.txt")
	read := func(b []byte) (plain int, err error) {
		d, err := ReadDirectory(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return 0, err
		}
		at := len(Magic)
		for _, f := range d.Frames {
			data, err := DecodeFrame(nil, b[at:at+f.Stored], f.Codec, f.Length())
			if err != nil {
				return 0, err
			}
			at, plain = at+f.Stored, plain+len(data)
		}
		if end := appendFooter(b[:at:at], d.Append(nil)); !bytes.Equal(end, b) {
			return 0, errors.New("what was read is not what would be written")
		}
		return plain, nil
	}
	good := newPacked(f, k).plain
	fuzzing.Seed(f, func(b []byte) error { _, err := read(b); return err }, good)
	f.Add(good[:len(good)-1])
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := ReadDirectory(bytes.NewReader(b), int64(len(b))); err == nil {
			dir := b[len(b)-footerSize-len(d.Append(nil)) : len(b)-footerSize]
			checkDirectory(t, d, dir)
			read(b)
		}
		fuzzing.Bound(t, perByte*len(b), func() { ReadDirectory(bytes.NewReader(b), int64(len(b))) })
	})
}

// What lies of its length is refused before the memory is there.
func TestLyingLengths(t *testing.T) {
	decoder()
	lie := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, 1), 0), maxFrames)
	foot := append(append([]byte(Magic), "\xff\xff\xff\x03\x00\x00\x00\x00"...), EndMagic...)
	for name, read := range map[string]func() error{
		"directory": func() error { _, err := parseDirectory(lie); return err },
		"blobs":     func() error { _, err := parseDirectory(append(lie[:2:2], 1, 1, 9, 0xff, 0xff, 0xff, 7)); return err },
		"footer":    func() error { _, err := ReadDirectory(bytes.NewReader(foot), int64(len(foot))); return err },
		"pack": func() error {
			r := wire.NewReader(append(make([]byte, 32), 9, 9, 0xff, 0xff, 0xff, 0x1f))
			Parse(r)
			return r.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			fuzzing.Bound(t, 0, func() {
				if read() == nil {
					t.Error("it is taken")
				}
			})
		})
	}
}

// A frame that would decompress to more than it may is refused without the memory for it.
func TestBombs(t *testing.T) {
	decoder()
	announced, silent := fuzzing.Bomb(t)
	for name, b := range map[string][]byte{"announced": announced, "silent": silent} {
		fuzzing.Bound(t, 100_000+perByte*len(b), func() {
			if _, err := DecodeFrame(nil, b, Zstd, 100_000); err == nil {
				t.Errorf("%s: a frame of 128 MiB is taken", name)
			}
		})
	}
}
