package console

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

// Prompt reaches the person at the terminal, whatever standard input and output are.
func (c *Console) Prompt() keys.Prompt {
	warn := func(format string, args ...any) { c.Warn(format, args...) }
	t := plugin.NewTerminalUI(warn, warn)
	return keys.Prompt{Passphrase: ReadPassphrase, Plugin: plugin.ClientUI{
		DisplayMessage: func(name, message string) error {
			c.Plugin(name, message)
			return nil
		},
		RequestValue: func(name, message string, secret bool) (string, error) {
			return t.RequestValue(name, escape.Terminal(message), secret)
		},
		Confirm: func(name, message, yes, no string) (bool, error) {
			return t.Confirm(name, escape.Terminal(message), escape.Terminal(yes), escape.Terminal(no))
		},
		WaitTimer: func(name string) { c.Plugin(name, "still at work") },
	}}
}

// ReadPassphrase asks for a passphrase on the terminal, whatever standard input is.
func ReadPassphrase(prompt string) ([]byte, error) {
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
