package wayback

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

	"permafrost/source/postgres/quote"
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

// visit connects once. A connection may be cut when the database gets another name. None may be refused, but where there is no
// superuser one that waits for the new name.
func (v *visitor) visit() {
	cmd := v.w.h.Command(context.Background(), "psql", "-X", "-w", "-U", v.w.saved.User, "-d", conninfoOf(v.w.saved.Database), "-Atc",
		"select oid from pg_database where datname = current_database()")
	cmd.Env = append(cmd.Env, "PGPASSWORD="+rolePassword)
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		v.visits[strings.TrimSpace(string(out))]++
	case v.w.value("pg_admin") == "" && strings.Contains(string(out), "It seems to have just been dropped or renamed."):
	case !strings.Contains(string(out), "terminating connection due to administrator command"):
		v.t.Errorf("a visitor is told %s, %v", out, err)
	}
}

func (v *visitor) leave() { v.stop(); v.done.Wait() }

// damaged makes the database of that name that is still there, and has somebody connected as a role.
func (w *wayBack) damaged(t *testing.T, as string) {
	t.Helper()
	w.must(w.h.Exec(t.Context(), "template1", "create database "+quote.Identifier(w.saved.Database)+" template template0 owner "+quote.Identifier(w.saved.User)))
	w.must(w.h.Exec(t.Context(), conninfoOf(w.saved.Database), "create table accounts (half int); insert into accounts values (1); grant select on accounts to public"))
	idle := w.h.Command(t.Context(), "psql", "-X", "-w", "-U", as, "-d", conninfoOf(w.saved.Database), "-c", "begin; select * from accounts; select pg_sleep(600)")
	if as != w.h.User {
		idle.Env = append(idle.Env, "PGPASSWORD="+rolePassword)
	}
	w.must(idle.Start())
	t.Cleanup(func() { idle.Process.Kill(); idle.Wait() })
}

// Each step is killed at some moment, and begun again. The result is the same, and at each moment the name leads to the database
// that was there or to the restored one.
func TestWayBackInterrupted(t *testing.T) {
	t.Parallel()
	s, dump := everything.capture(t)
	for _, superuser := range []bool{true, false} {
		t.Run(fmt.Sprint("superuser ", superuser), func(t *testing.T) {
			s := s.as(fmt.Sprint("killed ", superuser), fmt.Sprint("kill", superuser))
			s.User = s.Database
			var w *wayBack
			lacks := []func(string) string{noSubscription}
			if superuser {
				w = newWayBack(t, host(t), s, dump, nil)
				w.mayLogIn("")
				w.damaged(t, w.h.User)
				w.dumpOptions = nil
			} else {
				w = poor(t, s, dump)
				w.damaged(t, s.User)
				w.dumpOptions = []string{"--no-owner", "--no-privileges"}
				lacks = append(append(lacks, withoutObjects(unmakable)...), without("Name: public; Type: SCHEMA"))
			}
			v := w.visited(t)
			defer v.leave()
			for i := range w.part.Steps {
				w.interrupted(w.part.Steps[i].Name)
			}
			v.leave()
			if n := v.visits; len(n) != 2 {
				t.Errorf("visits of databases: %v", n)
			}
			w.source = everything.db
			w.compare(lacks...)
			if got := w.databases(); got != w.saved.Database+" "+w.saved.Database+"_before_20260627_030400" {
				t.Errorf("databases %s", got)
			}
			if out, err := w.h.Query(t.Context(), conninfoOf(w.saved.Database+"_before_20260627_030400"), "select half from accounts"); err != nil || out != "1\n" {
				t.Errorf("the old database has %q, %v", out, err)
			}
		})
	}
}

// interrupted runs a step, kills it after a while that grows, and runs it to its end. Every other time all its processes die at once;
// else what it has started outlives the shell.
func (w *wayBack) interrupted(step string) {
	w.t.Helper()
	limit := 50 * time.Millisecond
	for try := range 4 {
		cmd := w.command(step)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		w.must(cmd.Start())
		timer := time.AfterFunc(time.Duration(rand.Int64N(int64(limit))), func() {
			if try%2 == 1 {
				for _, pid := range children(cmd.Process.Pid) {
					syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		})
		cmd.Wait()
		timer.Stop()
		limit *= 3
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
