package backup

import (
	"encoding/binary"

	"permafrost/chunk"
	"permafrost/snapshot/stream"
)

// How much of the previous stream is looked at at once, in bytes of the stream: half of it ahead of the place that the new
// stream has come to. Each MiB takes some 250 KiB of memory. An RDB, whose keys come in another order whenever a table
// grew, is as a rule wholly within its window; nothing else is read at that time.
const (
	pastWindow      = 48 << 20
	pastRedisWindow = 160 << 20
)

// A past is the previous stream as far as its sketch is read: a window that follows what is found.
type past struct {
	src     *sketchReader
	window  int64
	err     error // that ended it early
	ended   bool
	chunks  []*sketchedChunk
	first   int   // number of chunks[0] in the stream
	ahead   int64 // bytes of chunks from centre on
	behind  int64 // and before it
	centre  int   // number of the chunk that was found last
	strayed int64 // bytes of the new stream since
	byID    map[chunk.ID]int
	byPiece map[uint32]pieceAt
	last    pieceAt // behind the piece that was found last
}

// A pieceAt is a piece's place in the previous stream.
type pieceAt struct {
	chunk int32  // number in the stream
	piece uint16 // in the chunk
}

// newPast returns the past of a stream by its sketch, which may be nil.
func newPast(src *sketchReader, window int64) *past {
	p := &past{src: src, window: window, ended: src == nil, byID: make(map[chunk.ID]int), byPiece: make(map[uint32]pieceAt), last: pieceAt{chunk: -1}}
	return p
}

// pieceKey is what pieces are looked up by: few bytes, since there are so many. Two that share it are told apart where
// one is found; the other is not, and costs its own length.
func pieceKey(p *chunk.Piece) uint32 { return binary.LittleEndian.Uint32(p.Sum[:]) }

// advance reads on and forgets, until the window lies about its centre. n is the length of the chunk of the new stream
// that is looked for next: where nothing was found for long, the window goes on with the new stream.
func (p *past) advance(n int64) {
	if p.strayed += n; p.strayed > p.window/4 {
		p.moveTo(p.at(n))
		p.strayed = p.window / 4
	}
	for !p.ended && p.ahead < p.window/2 {
		c, err := p.src.next()
		if c == nil {
			p.ended, p.err = true, err
			break
		}
		p.enter(c)
	}
	for p.behind > p.window/2 {
		p.forget()
	}
}

// at returns the number of the chunk some bytes behind the centre.
func (p *past) at(bytes int64) int {
	n := p.centre
	for n-p.first < len(p.chunks)-1 && bytes > 0 {
		bytes -= p.chunks[n-p.first].Length
		n++
	}
	return n
}

// enter adds the next chunk to the window.
func (p *past) enter(c *sketchedChunk) {
	n := p.first + len(p.chunks)
	p.chunks = append(p.chunks, c)
	p.ahead += c.Length
	p.byID[c.ID] = n
	for i := range c.pieces {
		p.byPiece[pieceKey(&c.pieces[i])] = pieceAt{int32(n), uint16(i)}
	}
}

// forget drops the first chunk of the window.
func (p *past) forget() {
	c := p.chunks[0]
	if p.byID[c.ID] == p.first {
		delete(p.byID, c.ID)
	}
	for i := range c.pieces {
		key := pieceKey(&c.pieces[i])
		if at, ok := p.byPiece[key]; ok && int(at.chunk) == p.first {
			delete(p.byPiece, key)
		}
	}
	p.chunks[0] = nil
	p.chunks = p.chunks[1:]
	p.first++
	p.behind -= c.Length
}

// moveTo makes a chunk of the window its centre.
func (p *past) moveTo(n int) {
	for ; p.centre < n; p.centre++ {
		length := p.chunks[p.centre-p.first].Length
		p.ahead -= length
		p.behind += length
	}
	for ; p.centre > n; p.centre-- {
		length := p.chunks[p.centre-1-p.first].Length
		p.ahead += length
		p.behind -= length
	}
	p.strayed = 0
}

// chunk returns the chunk with an ID, if it is in the window.
func (p *past) chunk(id chunk.ID) *sketchedChunk {
	n, ok := p.byID[id]
	if !ok {
		return nil
	}
	p.moveTo(n)
	p.last = pieceAt{chunk: int32(n + 1)}
	return p.chunks[n-p.first]
}

// follow makes the centre where the last piece was found.
func (p *past) follow() {
	if n := int(p.last.chunk); n >= p.first && n < p.first+len(p.chunks) {
		p.moveTo(n)
	}
}

// piece finds a piece and returns the extent where it lies. The one behind the last that was found is looked at first:
// what follows each other there is best taken together.
func (p *past) piece(want *chunk.Piece) (stream.Extent, bool) {
	at := p.last
	if !p.is(&at, want) {
		var ok bool
		if at, ok = p.byPiece[pieceKey(want)]; !ok || !p.is(&at, want) {
			return stream.Extent{}, false
		}
	}
	c := p.chunks[int(at.chunk)-p.first]
	off := 0
	for i := range c.pieces[:at.piece] {
		off += c.pieces[i].Length
	}
	x := stream.Extent{Blob: c.ID, Offset: off, Length: want.Length}
	for _, y := range c.Extents {
		if off < y.Length {
			if off+want.Length > y.Length {
				return stream.Extent{}, false // no piece of ours
			}
			x.Blob, x.Offset = y.Blob, y.Offset+off
			break
		}
		off -= y.Length
	}
	p.last = pieceAt{at.chunk, at.piece + 1}
	return x, true
}

// is reports whether the piece at a place is want. A place behind a chunk's last piece becomes the next chunk's first.
func (p *past) is(at *pieceAt, want *chunk.Piece) bool {
	n := int(at.chunk) - p.first
	if at.chunk < 0 || n < 0 || n >= len(p.chunks) {
		return false
	}
	if int(at.piece) >= len(p.chunks[n].pieces) {
		*at = pieceAt{chunk: at.chunk + 1}
		if n++; n >= len(p.chunks) || len(p.chunks[n].pieces) == 0 {
			return false
		}
	}
	return p.chunks[n].pieces[at.piece] == *want
}
