package sandbox

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// alive tells whether a process is there and no zombie.
func alive(pid int) bool {
	_, _, ok := stat(pid)
	return ok
}

func TestMissingProgram(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := find("no-such-server", "no-such-package")
	if err == nil || !strings.Contains(err.Error(), "install the Debian package no-such-package") {
		t.Fatalf("error does not name the package: %v", err)
	}
}

func TestDescendants(t *testing.T) {
	if parent, _, ok := stat(os.Getpid()); !ok || parent != os.Getppid() {
		t.Fatalf("parent of this process: %d, %v; want %d", parent, ok, os.Getppid())
	}
	if !slices.Contains(descendants(os.Getppid()), os.Getpid()) {
		t.Fatal("this process is not among its parent's descendants")
	}
}
