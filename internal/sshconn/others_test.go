package sshconn

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

const stranger = 54321

// strange makes what others than root could have written, or put in place of another, of a file in a directory of its own.
var strange = map[string]func(file string) error{
	"another's file":      func(file string) error { return os.Chown(file, stranger, stranger) },
	"everybody writes":    func(file string) error { return os.Chmod(file, 0o777) },
	"a group writes":      func(file string) error { return errors.Join(os.Chown(file, 0, stranger), os.Chmod(file, 0o775)) },
	"another's directory": func(file string) error { return os.Chown(filepath.Dir(file), stranger, stranger) },
	"an open directory":   func(file string) error { return os.Chmod(filepath.Dir(file), 0o777) },
	"another's link": func(file string) error {
		real := file + ".real"
		return errors.Join(os.Rename(file, real), os.Symlink(real, file), os.Lchown(file, stranger, stranger))
	},
}

// Root runs no ssh command that others could have put there, and none that a configuration of others names.
func TestCommandsOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test is about what root does: run it as root")
	}
	for name, spoil := range strange {
		for what, config := range map[string]func(t *testing.T, script string) (c Config, altered string){
			"ssh command": func(t *testing.T, script string) (Config, string) {
				return Config{UseCommand: true, Command: script}, script
			},
			"ProxyCommand of the ssh command": func(t *testing.T, script string) (Config, string) {
				file := write(t, "config", "Host *\n ProxyCommand "+script+"\n")
				return Config{UseCommand: true, ConfigFile: file}, file
			},
			"ProxyCommand": func(t *testing.T, script string) (Config, string) {
				file := write(t, "config", "Host *\n ProxyCommand "+script+"\n")
				return Config{ConfigFile: file}, file
			},
		} {
			t.Run(what+"/"+name, func(t *testing.T) {
				t.Parallel()
				ran := filepath.Join(t.TempDir(), "ran")
				c, altered := config(t, scripted(t, "touch", ran))
				c.Host = "h"
				d, err := NewDialer(c)
				if err != nil {
					t.Fatal(err)
				}
				if made, err := greet(t.Context(), d); err == nil {
					made.Close()
				}
				if err := os.Remove(ran); err != nil {
					t.Fatalf("it is not run where it is root's: %v", err)
				}
				if err := spoil(altered); err != nil {
					t.Fatal(err)
				}
				refuses(t, c, filepath.Dir(altered), "")
				if _, err := os.Stat(ran); err == nil {
					t.Error("it is run")
				}
			})
		}
	}
}
