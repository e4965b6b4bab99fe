package sftpstore

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"permafrost/internal/storetest"
)

const benchSize = 16 << 20 // a pack

// benchStores runs f for each way to connect.
func benchStores(b *testing.B, f func(b *testing.B, s *Store)) {
	server := plainSSHD(b)
	for _, connections := range []int{1, 2} {
		b.Run(fmt.Sprint("in-process-", connections), func(b *testing.B) {
			c := config(server)
			c.Connections = connections
			f(b, open(b, c))
		})
	}
	b.Run("command-2", func(b *testing.B) {
		c := config(server)
		c.UseCommand = true
		f(b, open(b, c))
	})
	b.Run("in-process-rtt-20ms", func(b *testing.B) {
		_, c := startRelay(b, server, 10*time.Millisecond)
		f(b, open(b, c))
	})
}

// inParallel calls f b.N times, from five goroutines: as many as a run has pack buffers.
func inParallel(b *testing.B, f func(i int) error) {
	b.SetBytes(benchSize)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := f(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

var benchNames atomic.Int64

func BenchmarkPut(b *testing.B) {
	data := storetest.Random(1, benchSize)
	benchStores(b, func(b *testing.B, s *Store) {
		inParallel(b, func(i int) error {
			name := fmt.Sprint("put/", benchNames.Add(1))
			defer s.Remove(context.Background(), name)
			return s.Put(context.Background(), name, data)
		})
	})
}

func BenchmarkGet(b *testing.B) {
	data := storetest.Random(1, benchSize)
	benchStores(b, func(b *testing.B, s *Store) {
		for i := range 4 {
			s.Put(b.Context(), fmt.Sprint("get/", i), data)
		}
		b.ResetTimer()
		buffers := make(chan []byte, 5)
		for range cap(buffers) {
			buffers <- make([]byte, benchSize)
		}
		inParallel(b, func(i int) error {
			p := <-buffers
			defer func() { buffers <- p }()
			_, err := s.ReadAt(context.Background(), fmt.Sprint("get/", i%4), p, 0)
			return err
		})
	})
}

// OpenSSH's own client, for comparison: it does not fsync unless asked (-f), and keeps one connection.
func BenchmarkSFTPCommand(b *testing.B) {
	server := plainSSHD(b)
	local := filepath.Join(b.TempDir(), "data")
	if err := os.WriteFile(local, storetest.Random(1, benchSize), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, command := range []string{"put -f " + local + " " + server.Root + "/x", "get " + server.Root + "/x " + local + "-back"} {
		b.Run(command[:3], func(b *testing.B) {
			b.SetBytes(benchSize)
			cmd := exec.Command("sftp", "-F", "none", "-b", "-", "-P", strconv.Itoa(server.Port), "-i", server.IdentityFile,
				"-o", "IdentitiesOnly=yes", "-o", "UserKnownHostsFile="+server.KnownHosts, server.User+"@"+server.Host)
			cmd.Stdin = strings.NewReader(strings.Repeat(command+"\n", b.N))
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, out)
			}
		})
	}
}
