package repo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// zstd's encoders and decoders are costly to make and safe for concurrent EncodeAll and DecodeAll.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(2),
			zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	fastEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2),
			zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxMemory(maxFrame), zstd.WithDecoderLowmem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return d
	})
)

// encodeFrame returns the stored form of a frame's plaintext: in dst's room where compression gains something, else plain
// itself. What is compressed is decoded again, into *scratch, and compared: bad memory becomes an error here and not a bad
// backup.
func encodeFrame(dst, plain []byte, scratch *[]byte, c Component) ([]byte, codec, error) {
	enc := encoder()
	if c == Media {
		enc = fastEncoder() // what isn't compressed by its own format is rare there
	}
	stored := enc.EncodeAll(plain, dst[:0])
	if len(stored) > len(plain)-len(plain)/32 {
		return plain, codecRaw, nil
	}
	*scratch = slices.Grow((*scratch)[:0], len(plain))
	back, err := decodeFrame(*scratch, stored, codecZstd, len(plain))
	if err != nil || !bytes.Equal(back, plain) {
		return nil, 0, errors.New("a frame that was just compressed does not decompress to what it was: this machine's memory is not sound")
	}
	return stored, codecZstd, nil
}

// decodeFrame returns the plaintext, length bytes long, of a stored frame: in buf where that is large enough.
func decodeFrame(buf, stored []byte, c codec, length int) ([]byte, error) {
	if c == codecRaw {
		if len(stored) != length {
			return nil, fmt.Errorf("raw frame has %d bytes, want %d", len(stored), length)
		}
		return stored, nil
	}
	if cap(buf) < length {
		buf = make([]byte, 0, length)
	}
	plain, err := decoder().DecodeAll(stored, buf[:0:length])
	if err != nil {
		return nil, fmt.Errorf("decompressing: %w", err)
	}
	if len(plain) != length {
		return nil, fmt.Errorf("frame decompresses to %d bytes, want %d", len(plain), length)
	}
	return plain, nil
}
