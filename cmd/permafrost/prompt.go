package main

import (
	"errors"
	"fmt"
	"os"

	"filippo.io/age/plugin"
	"golang.org/x/term"

	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/repo/keys"
)

// prompt reaches the person at the terminal, whatever standard input and output are.
func (a *app) prompt() keys.Prompt {
	warn := func(format string, args ...any) { a.ui.Warn(format, args...) }
	t := plugin.NewTerminalUI(warn, warn)
	return keys.Prompt{Passphrase: readPassphrase, Plugin: plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			a.ui.Plugin(name, message)
			return nil
		},
		RequestValue: func(name, message string, secret bool) (string, error) {
			return t.RequestValue(name, escape.Terminal(message), secret)
		},
		Confirm: func(name, message, yes, no string) (bool, error) {
			return t.Confirm(name, escape.Terminal(message), escape.Terminal(yes), escape.Terminal(no))
		},
		WaitTimer: func(name string) { a.ui.Plugin(name, "still at work") },
	}}
}

// readPassphrase asks for a passphrase on the terminal, whatever standard input is.
func readPassphrase(prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, hint.Wrap(errors.New("there is no terminal to ask on"), "give a key file that is not encrypted with a passphrase")
	}
	defer tty.Close()
	fmt.Fprintf(tty, "%s: ", prompt)
	pass, err := term.ReadPassword(int(tty.Fd()))
	fmt.Fprintln(tty)
	return pass, err
}
