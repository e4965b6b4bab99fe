package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A measurement is what one phase took of one program.
type measurement struct {
	Phase   string        `json:"phase"`
	Program string        `json:"program"`
	Wall    time.Duration `json:"wall"`   // nanoseconds
	CPU     time.Duration `json:"cpu"`    // of the program and of what it starts on this side
	Peak    int64         `json:"peak"`   // bytes of the largest of these processes
	Stored  int64         `json:"stored"` // bytes that the repository grew by
}

// shell runs a script with an environment and measures it. What it prints is shown only where it fails.
func shell(ctx context.Context, env []string, dir, script string) (m measurement, err error) {
	unix.Sync() // what others left to be written is not to be waited for by this one
	out, err := os.CreateTemp("", "bench-")
	if err != nil {
		return m, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, dir, out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	began := time.Now()
	err = cmd.Run()
	m.Wall = time.Since(began)
	if ctx.Err() != nil {
		return m, context.Cause(ctx)
	}
	if err != nil {
		said, _ := os.ReadFile(out.Name())
		return m, fmt.Errorf("%w: %s: %s", err, script, said[max(0, len(said)-2000):])
	}
	m.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.Peak = usage.Maxrss << 10
	}
	return m, nil
}

// size returns the bytes of all files below a directory, 0 where there is none.
func size(dir string) (n int64) {
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// fileSize returns the length of a file, 0 where there is none.
func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
