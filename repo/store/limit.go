package store

import (
	"context"
	"sync"
	"time"

	"permafrost/internal/parts"
)

// A limited store moves no more bytes a second than it was told to, in the long run. An object goes in one piece: what
// is paced is when the next one may begin.
type limited struct {
	Store
	upload, download *pacer
}

// Limit returns st with limits on what is put and what is read, in bytes per second, of which 0 is none.
func Limit(st Store, upload, download int64) Store {
	if upload == 0 && download == 0 {
		return st
	}
	return &limited{st, newPacer(upload), newPacer(download)}
}

// Put implements Store.
func (l *limited) Put(ctx context.Context, name string, data ...[]byte) error {
	if err := l.upload.wait(ctx, int(parts.Size(data))); err != nil {
		return err
	}
	return l.Store.Put(ctx, name, data...)
}

// ReadAt implements Store.
func (l *limited) ReadAt(ctx context.Context, name string, p []byte, off int64) (int, error) {
	if err := l.download.wait(ctx, len(p)); err != nil {
		return 0, err
	}
	n, err := l.Store.ReadAt(ctx, name, p, off)
	l.download.giveBack(len(p) - n)
	return n, err
}

// A pacer lets bytes go at a rate: each request takes its time out of the future. A nil pacer does not limit.
type pacer struct {
	perByte float64 // seconds

	mu   sync.Mutex
	free time.Time // when all that was let go has had its time
}

func newPacer(bytesPerSecond int64) *pacer {
	if bytesPerSecond == 0 {
		return nil
	}
	return &pacer{perByte: 1 / float64(bytesPerSecond)}
}

// wait returns when n more bytes may go.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p == nil {
		return ctx.Err()
	}
	now := time.Now()
	p.mu.Lock()
	if p.free.Before(now) {
		p.free = now
	}
	delay := p.free.Sub(now)
	p.free = p.free.Add(p.time(n))
	p.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveBack takes note that n bytes fewer went than were asked for.
func (p *pacer) giveBack(n int) {
	if p == nil || n <= 0 {
		return
	}
	p.mu.Lock()
	p.free = p.free.Add(-p.time(n))
	p.mu.Unlock()
}

func (p *pacer) time(n int) time.Duration {
	return time.Duration(float64(n) * p.perByte * float64(time.Second))
}
