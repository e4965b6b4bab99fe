package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An instance that goes on connecting to its database all the while.
type visitor struct {
	t      *testing.T
	w      *wayBack
	stop   context.CancelFunc
	done   sync.WaitGroup
	visits map[string]int // how many found which database, by its number
}

func (w *wayBack) visited(t *testing.T) *visitor {
	ctx, stop := context.WithCancel(t.Context())
	v := &visitor{t: t, w: w, stop: stop, visits: make(map[string]int)}
	v.done.Go(func() {
		for ctx.Err() == nil {
			v.visit()
		}
	})
	return v
}

// visit connects once. A connection may be cut when the database gets another name; none may be refused.
func (v *visitor) visit() {
	cmd := v.w.h.Command(context.Background(), "psql", "-X", "-w", "-U", v.w.saved.User, "-d", conninfoOf(v.w.saved.Database), "-Atc",
		"select oid from pg_database where datname = current_database()")
	cmd.Env = append(cmd.Env, "PGPASSWORD="+rolePassword)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		v.visits[strings.TrimSpace(string(out))]++
	case !strings.Contains(string(out), "terminating connection due to administrator command"):
		v.t.Errorf("a visitor is told %s, %v", out, err)
	}
}

func (v *visitor) leave() { v.stop(); v.done.Wait() }

// damaged makes the database of that name that is still there, with the role and its password, and somebody connected.
func (w *wayBack) damaged(t *testing.T) {
	t.Helper()
	verifier, err := Verifier(rolePassword)
	w.must(err)
	name, role := identifier(w.saved.Database), identifier(w.saved.User)
	w.must(w.h.Exec(t.Context(), "template1", "create role "+role+" login password "+literal(verifier)+"; create database "+name+" template template0 owner "+role))
	w.must(w.h.Exec(t.Context(), conninfoOf(w.saved.Database), "create table accounts (half int); insert into accounts values (1)"))
	idle := w.h.Command(t.Context(), "psql", "-X", "-d", conninfoOf(w.saved.Database), "-c", "begin; select * from accounts; select pg_sleep(600)")
	w.must(idle.Start())
	t.Cleanup(func() { idle.Process.Kill(); idle.Wait() })
}

// Each step is killed at some moment, and begun again. The result is the same, and at each moment the name leads to the database
// that was there or to the restored one.
func TestWayBackInterrupted(t *testing.T) {
	t.Parallel()
	s, dump := everything.capture(t)
	for _, all := range []bool{false, true} {
		t.Run(fmt.Sprint("all ", all), func(t *testing.T) {
			s := s.as(fmt.Sprint("killed ", all), fmt.Sprint("kill", all))
			s.User = fmt.Sprint("killed ", all)
			w := newWayBack(t, host(t), s, dump, nil)
			w.damaged(t)
			v := w.visited(t)
			defer v.leave()
			for i := range w.part.Steps {
				w.interrupted(w.part.Steps[i].Name, all)
			}
			v.leave()
			if n := v.visits; len(n) != 2 {
				t.Errorf("visits of databases: %v", n)
			}
			w.dumpOptions, w.source = nil, everything.db
			w.compare()
			if got := w.databases(); got != w.saved.Database+" "+w.saved.Database+"_before_20260627_030400" {
				t.Errorf("databases %s", got)
			}
			if out, err := w.h.Query(t.Context(), conninfoOf(w.saved.Database+"_before_20260627_030400"), "select half from accounts"); err != nil || out != "1\n" {
				t.Errorf("the old database has %q, %v", out, err)
			}
		})
	}
}

// interrupted runs a step, kills it after a while that grows until the step holds, and runs it to its end. With all its processes
// die at once; else what it has started outlives the shell.
func (w *wayBack) interrupted(step string, all bool) {
	w.t.Helper()
	limit := 60 * time.Millisecond
	for range 4 {
		cmd := w.command(step)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		w.must(cmd.Start())
		timer := time.AfterFunc(time.Duration(rand.Int64N(int64(limit))), func() {
			if all {
				for _, pid := range children(cmd.Process.Pid) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
		cmd.Wait()
		timer.Stop()
		limit *= 2
	}
	w.must(w.step(step))
}

// children lists the processes below one.
func children(pid int) (all []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), children(child)...)
			}
		}
	}
	return all
}
