package repo_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"permafrost/internal/storetest"
	"permafrost/repo"
	"permafrost/repo/keys"
	"permafrost/repo/lease"
	"permafrost/repo/upkeep"
)

func TestLeases(t *testing.T) {
	w := newWorld(t, storetest.NewMem(t), repo.InitOptions{})
	mustSnapshot(t, w.open(w.writer), night(1), 1)
	open := func(k *keys.Keyring) *repo.Repo {
		r, err := openRepo(t.Context(), w.store, k, repo.Options{StateDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	writing := w.open(w.writer)
	wr, err := writing.NewWriter(t.Context(), instance)
	if err != nil {
		t.Fatal(err)
	}
	var locked *lease.LockedError
	if _, err := w.open(w.writer).NewWriter(t.Context(), instance); !errors.As(err, &locked) {
		t.Errorf("a second snapshot on this machine: %v", err)
	}
	// The pruner has the writer's host name and PID, as two containers may.
	if _, err := upkeep.Prune(t.Context(), open(w.owner), mark, upkeep.PruneOptions{}); !errors.As(err, &locked) {
		t.Errorf("a prune beside a snapshot: %v", err)
	}
	wr.Abort()
	if _, err := upkeep.Prune(t.Context(), open(w.owner), mark, upkeep.PruneOptions{}); err != nil {
		t.Errorf("prune after the run has ended: %v", err)
	}
}

// Where the entry that announced the newest keys is lost nobody says who is at work: a removed writer has the older keys.
func TestNoLeaseUnderOldKeys(t *testing.T) {
	w, st, gone := removed(t)
	recovery := w.owner
	if _, err := w.open(w.owner).Rotate(t.Context(), func(k *keys.Keyring) error { recovery = k; return nil }); err != nil {
		t.Fatal(err)
	}
	announced := w.open(recovery).Head().Seq
	mustSnapshot(t, w.open(w.writer), night(2), 2)
	st.Delete(number(announced))

	watched := &storetest.Hook{Store: st, Before: func(op storetest.Op) storetest.Fault {
		if op.Kind == "Put" && strings.HasPrefix(op.Name, "leases/") {
			t.Errorf("%s is put", op.Name)
		}
		return storetest.None
	}}
	accepting := func() *repo.Repo {
		r, err := openRepo(t.Context(), storetest.Alone(watched), recovery, repo.Options{AcceptHead: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for name, err := range map[string]error{
		"a prune":              second(upkeep.Prune(t.Context(), fresh(t, watched, recovery), mark, upkeep.PruneOptions{})),
		"a prune's dry run":    second(upkeep.Prune(t.Context(), fresh(t, watched, recovery), mark, upkeep.PruneOptions{DryRun: true})),
		"a snapshot":           second(fresh(t, watched, recovery).NewWriter(t.Context(), instance)),
		"an accepting prune":   second(upkeep.Prune(t.Context(), accepting(), mark, upkeep.PruneOptions{})),
		"a repair":             second(upkeep.RepairIndex(t.Context(), accepting(), mark, upkeep.RepairOptions{})),
		"a repair's dry run":   second(upkeep.RepairIndex(t.Context(), accepting(), mark, upkeep.RepairOptions{DryRun: true})),
		"a repair of packs":    second(upkeep.RepairPacks(t.Context(), accepting(), upkeep.RepairOptions{})),
		"an unaccepted repair": second(upkeep.RepairIndex(t.Context(), fresh(t, watched, recovery), mark, upkeep.RepairOptions{})),
	} {
		if err == nil {
			t.Errorf("%s goes on", name)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	var gives *keys.Keyring
	if _, err := accepting().Rotate(t.Context(), func(k *keys.Keyring) error { gives = k; return nil }); err != nil {
		t.Fatal(err)
	}
	put := 0
	known := before(st, "Put", "leases/", func() { put++ })
	if _, err := upkeep.Prune(t.Context(), fresh(t, known, gives), mark, upkeep.PruneOptions{}); err != nil || put == 0 {
		t.Errorf("once the keys are rotated anew: %v, a lease %v", err, put > 0)
	}
	if _, err := openFresh(t.Context(), st, gone); err == nil {
		t.Error("the removed writer opens the repository")
	}
}

func second[T any](_ T, err error) error { return err }

// childVar makes this test binary a process that tells whose it is, and then waits for the end of its input.
const childVar = "PERMAFROST_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		os.Stdout.Write(repo.ThisProcess())
		os.Stdin.Read(make([]byte, 1))
		return
	}
	os.Exit(m.Run())
}

// child starts a process, and returns it, what it says of itself, and what ends it.
func child(t *testing.T, attr *syscall.SysProcAttr) (c *exec.Cmd, told []byte, end func()) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c = exec.Command(self)
	c.Env, c.SysProcAttr = append(os.Environ(), childVar+"=1"), attr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := out.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	end = func() { in.Close(); c.Process.Kill() }
	t.Cleanup(end)
	return c, buf[:n], end
}

// A lease counts for nothing once its process has ended, and for as much as any other where nobody can know that.
func TestLeaseOfADeadProcess(t *testing.T) {
	waits := func(t *testing.T, holder []byte) bool {
		t.Helper()
		st := storetest.NewMem(t)
		w := newWorld(t, st, repo.InitOptions{})
		mustSnapshot(t, w.open(w.writer), night(1), 1)
		r, err := openRepo(t.Context(), st, w.owner, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.PutLease(t.Context(), holder); err != nil {
			t.Fatal(err)
		}
		_, err = upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{})
		var locked *lease.LockedError
		if err != nil && !errors.As(err, &locked) {
			t.Fatal(err)
		}
		left := 0
		for _, name := range st.Names() {
			if strings.HasPrefix(name, "leases/") {
				left++
			}
		}
		if (err != nil) != (left == 1) {
			t.Errorf("prune: %v; %d leases are left", err, left)
		}
		return err != nil
	}
	c, told, end := child(t, nil)
	if !waits(t, told) {
		t.Error("nobody waits for a process that runs")
	}
	another := strings.Replace(string(told), `"start":`, `"start":1`, 1)
	if another == string(told) {
		t.Fatalf("a process says nothing of its start: %s", told)
	}
	if waits(t, []byte(another)) {
		t.Error("a process is waited for whose PID another one has now")
	}
	end()
	for runs(c.Process.Pid) { // until it is a zombie
	}
	if waits(t, told) {
		t.Error("a process is waited for that has ended, and whose parent has not asked yet")
	}
	c.Wait()
	if waits(t, told) {
		t.Error("a process is waited for that has ended")
	}
	for _, field := range []string{`"machine":"`, `"host":"`} {
		elsewhere := strings.Replace(string(told), field, field+"other", 1)
		if !waits(t, []byte(elsewhere)) {
			t.Errorf("nobody waits for a process of another place: %s", elsewhere)
		}
	}
}

// A container shares host name and boot with its host, and numbers its processes from 1.
func TestLeaseOfAContainer(t *testing.T) {
	_, told, _ := child(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	if !strings.Contains(string(told), `"pid":1`) || strings.Contains(string(told), `"machine"`) {
		t.Errorf("with its host's /proc it says %s", told)
	}
	c := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", os.Args[0])
	c.Env = append(os.Environ(), childVar+"=1")
	told, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, own, _ := child(t, nil)
	if repo.Dead(told, own) || !repo.Dead(told, told) {
		t.Errorf("whether %s has ended can be told there alone, and not from %s", told, own)
	}
}

// Somebody who may put, and holds no key, puts a lease again that he has seen, under another name or under its own: nobody waits
// for that once it is over.
func TestLeasePutAgain(t *testing.T) {
	h := newSimPast(t)["one"][0]
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(h.end))
		st, seen := h.mem.CloneFor(t), make(map[string][]byte)
		sees := after(st, "Put", "leases/", func(object string) { seen[object] = st.Bytes(object) })
		r, err := openRepo(t.Context(), sees, h.writer, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w, err := r.NewWriter(t.Context(), instance)
		if err != nil {
			t.Fatal(err)
		}
		prune := func() error {
			r, err := openRepo(t.Context(), st, h.owner, repo.Options{})
			if err == nil {
				_, err = upkeep.Prune(t.Context(), r, mark, upkeep.PruneOptions{})
			}
			return err
		}
		var locked *lease.LockedError
		for range 3 {
			if err := prune(); !errors.As(err, &locked) {
				t.Errorf("a prune beside a snapshot: %v", err)
			}
			time.Sleep(30 * time.Minute)
		}
		w.Abort()
		time.Sleep(21 * time.Minute)
		for object, data := range seen {
			st.Set(object, data)
			st.Set("leases/"+strings.Repeat("0", 16)+object[len("leases/")+16:], data)
		}
		if err := prune(); err != nil {
			t.Errorf("a prune beside leases that were put again: %v", err)
		}
	})
}

// runs reports whether a process has not ended.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
