package postgres

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"permafrost/internal/hostfs"
)

// A child of another user sees none of the keys that root's session has in the kernel.
func TestChildHasNoKeysOfRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what a child of root's may do: run it as root")
	}
	runtime.LockOSThread() // and end with the thread, which has a keyring of the test's
	if _, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0); err == unix.ENOSYS {
		t.Log("this kernel keeps no keys")
		return
	}
	if _, err := unix.AddKey("user", "permafrost-test", []byte("secret"), unix.KEY_SPEC_SESSION_KEYRING); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("cat", "/proc/keys")
	var out strings.Builder
	cmd.Stdout = &out
	confine(cmd, &hostfs.User{UID: 65534, GID: 65534, Groups: []uint32{65534}})
	err := launch(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil || strings.Contains(out.String(), "permafrost-test") {
		t.Errorf("the child sees %q, %v", out.String(), err)
	}
}
