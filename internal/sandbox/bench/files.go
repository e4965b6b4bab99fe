package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// smallFiles is the mode files.
func (b *bench) smallFiles() error {
	return b.with(0, 0, func() error {
		n := int(1e6 * b.scale)
		say("making %d small files", n)
		content, err := b.makeSmall(n)
		if err != nil {
			return err
		}
		p := &b.programs()[0]
		if _, err := b.do(p, b.Home, p.init); err != nil {
			return err
		}
		var all []measurement
		for night, phase := range []string{"first night", "unchanged"} {
			say("files: %s", phase)
			m, err := b.do(p, b.Home, p.night, fmt.Sprintf("NIGHT=%d", night))
			if err != nil {
				return err
			}
			m.Phase = phase
			all = append(all, m)
		}
		b.report(fmt.Sprintf("%d files of %d bytes of their own", n, smallFile), all, nil)
		fmt.Printf("\nBeside their content the files took %.0f bytes each, and an unchanged night %.3f %% of that.\n",
			float64(all[0].Stored-content)/float64(n), 100*float64(all[1].Stored)/float64(all[0].Stored-content))
		return nil
	})
}

const smallFile = 100 // bytes

// makeSmall writes small files below directories like those of media attachments, and returns the bytes of all content
// that the instance has.
func (b *bench) makeSmall(n int) (int64, error) {
	before := size(b.System())
	root := filepath.Join(b.System(), "cache", "custom_emojis", "images")
	g, ctx := errgroup.WithContext(b.ctx)
	g.SetLimit(4)
	const perTask = 1000
	for from := 0; from < n; from += perTask {
		g.Go(func() error {
			data := make([]byte, smallFile)
			rng := rand.NewChaCha8([32]byte{byte(from), byte(from >> 8), byte(from >> 16), byte(from >> 24)})
			for i := from; i < min(n, from+perTask) && ctx.Err() == nil; i++ {
				dir := filepath.Join(root, fmt.Sprintf("%03d", i/1e6), fmt.Sprintf("%03d", i/1e3%1e3), fmt.Sprintf("%03d", i%1e3), "original")
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
				rng.Read(data)
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%016x.png", rng.Uint64())), data, 0o644); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return before + int64(n)*smallFile, g.Wait()
}
