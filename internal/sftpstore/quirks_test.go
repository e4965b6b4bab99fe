package sftpstore

import (
	"fmt"
	"testing"

	"permafrost/internal/sandbox"
	"permafrost/internal/storetest"
)

// quirky starts a server with quirks. It does without ssh's files.
func quirky(t *testing.T, quirks ...sandbox.Quirk) Config {
	t.Helper()
	server, err := sandbox.StartQuirky(t.TempDir(), sandbox.NewQuirks(quirks...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := config(server)
	c.Lasting = func(string) {}
	return c
}

// The store keeps its contract with servers that do one thing or another otherwise than OpenSSH's.
func TestQuirks(t *testing.T) {
	t.Parallel()
	all := [][]sandbox.Quirk{
		{}, {sandbox.UntypedLists}, {sandbox.StatOfNoneFails}, {sandbox.StatFails}, {sandbox.StatFails, sandbox.UntypedLists},
		{sandbox.VisibleAtClose}, {sandbox.NoLinks}, {sandbox.LinkLies}, {sandbox.OneChannel}, {sandbox.Cuts},
		{sandbox.UntypedLists, sandbox.StatOfNoneFails, sandbox.VisibleAtClose, sandbox.OneChannel, sandbox.Cuts, sandbox.LinkLies},
	}
	if storetest.RaceDetector { // it sees the same goroutines with each
		all = [][]sandbox.Quirk{all[0], all[len(all)-1]}
	}
	for _, quirks := range all {
		t.Run(fmt.Sprint(quirks), func(t *testing.T) {
			t.Parallel()
			c := quirky(t, quirks...)
			storetest.Run(t, fresh(c))
			c.Channels, c.Path = 3, c.Path+"-striped"
			striped, data := open(t, c), storetest.Random(1, 8<<20)
			put(t, striped, "large", data)
			holds(t, striped, "large", data)
		})
	}
}
