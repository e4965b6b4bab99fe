package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"permafrost/internal/keeper"
)

func init() {
	processTests = append(processTests, processTest{"clock", (*site).testClock, false})
	text := os.Getenv(clockVar)
	if text == "" {
		return
	}
	off, err := time.ParseDuration(text)
	if err == nil {
		err = moveClock(off)
	}
	if err != nil {
		panic(fmt.Errorf("moving the clock: %w", err))
	}
}

// moveClock has this process see the wall clock move by so many seconds. The clock is read by a function that the
// kernel maps into every process: its copy in this one is written over with one that asks the kernel, and adds to what
// that says.
func moveClock(off time.Duration) error {
	code := []byte{
		0xb8, 0xe4, 0x00, 0x00, 0x00, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 0x0d, // jnz end: not CLOCK_REALTIME
		0x48, 0xba, // mov rdx, the seconds
	}
	code = binary.LittleEndian.AppendUint64(code, uint64(off/time.Second))
	code = append(code,
		0x48, 0x01, 0x16, // add [rsi], rdx
		0xc3) // end: ret
	mem, err := os.OpenFile("/proc/self/mem", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer mem.Close()
	at, room, err := clockFunction(mem)
	if err != nil {
		return err
	}
	if room < uint64(len(code)) {
		return fmt.Errorf("the kernel's function has %d bytes", room)
	}
	before := time.Now().Round(0)
	if _, err := mem.WriteAt(code, at); err != nil {
		return err
	}
	if moved := time.Since(before); (moved - off).Abs() > time.Hour {
		return fmt.Errorf("it moved by %v", moved)
	}
	return nil
}

// clockFunction finds the function that reads the clock, and its length.
func clockFunction(mem *os.File) (at int64, size uint64, err error) {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return 0, 0, err
	}
	var from, to int64
	for line := range strings.Lines(string(maps)) {
		if strings.HasSuffix(line, "[vdso]\n") {
			fmt.Sscanf(line, "%x-%x", &from, &to)
		}
	}
	image := make([]byte, to-from)
	if _, err := mem.ReadAt(image, from); err != nil {
		return 0, 0, err
	}
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return 0, 0, err
	}
	symbols, err := f.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "__vdso_clock_gettime" {
			return from + int64(s.Value), s.Size, nil
		}
	}
	return 0, 0, errors.Join(err, errors.New("the kernel has no function for it"))
}

// clocks are wrong.
var clocks = map[string]time.Duration{"ten years ahead": 10 * 365 * 24 * time.Hour, "ten years behind": -10 * 365 * 24 * time.Hour}

// A host whose clock is wrong by years makes good snapshots, and deletes nothing that is young by the storage's clock.
func (s *site) testClock(t *testing.T) {
	for name, off := range clocks {
		t.Run(name, func(t *testing.T) {
			s := s.anew(t)
			w := newStruckWriter(t, s)
			machine := s.elsewhere(filepath.Join(t.TempDir(), "machine"))
			wrong := func(args ...string) *command {
				c := machine(args...)
				c.Env = append(c.Env, clockVar+"="+off.String())
				return c
			}
			kept := exitDone // that a clock is ahead is known once the storage has said when the entry came
			if off < 0 {
				kept = exitSuspect
			}
			s.testWrongClock(w, wrong, kept)
		})
	}
}

func (s *site) testWrongClock(w *struckWriter, wrong func(...string) *command, kept int) {
	t := s.t
	must := func(code int, args ...string) result { return start(t, wrong(args...)).must(code) }
	prune := func(code int) result { return must(code, "prune", "-i", s.recovery, "--json") }
	w.begin(wrong).must(kept)
	if lines := s.snapshots(t); len(lines) != 2 || lines[0].Time.Sub(lines[1].Time).Abs() < 24*time.Hour {
		t.Errorf("nothing was made by a wrong clock: %+v", lines)
	}
	w.next().must(exitDone)

	// A run that has just died has left packs, which are young, and its lease, which counts for nothing.
	packs := s.names("packs")
	u := w.begin(w.command, "--limit-upload", "100K")
	await(t, "pack", func() bool { return came(packs, s.names("packs")) })
	signalTo(t, u.c.Process.Pid, unix.SIGKILL)
	u.mustBeKilled()
	w.listed(u)
	left := s.names("packs")
	got := decode[keeper.Pruned](t, prune(exitDone).stdout, "prune")
	if got[0].LeftOver != 0 || !maps.Equal(left, s.names("packs")) {
		t.Errorf("what is young was deleted: %+v", got)
	}

	// A policy heeds the snapshots' order, and not today's date.
	ids := len(s.snapshots(t))
	policy := wrong("forget", "--keep-within", "30d").run(t)
	if after := len(s.snapshots(t)); after != ids {
		t.Errorf("a policy removes %d of %d snapshots: %s%s", ids-after, ids, policy.stdout, policy.stderr)
	}

	s.age("", 80*time.Hour)
	got = decode[keeper.Pruned](t, prune(exitDone).stdout, "prune")
	if got[0].LeftOver == 0 {
		t.Errorf("what is old was not deleted: %+v", got)
	}
	w.begin(wrong).must(kept)
	must(exitDone, "check", "-i", s.recovery, "--read-data")
	w.listed(u)
	w.compare()
	w.tidy()
}
