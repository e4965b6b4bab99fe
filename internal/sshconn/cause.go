package sshconn

import "fmt"

// A Cause says what an error is about, and which facts its CauseError has. The program that a person runs says what can be done about it.
type Cause string

// CauseJumpCommand is that a jump host's settings need a command, which only the ssh command runs.
const CauseJumpCommand Cause = "jump by command"

// Causes in the check of the host key.
const (
	CauseKnownHosts     Cause = "known_hosts"      // a line of known_hosts can't be read
	CauseHostKeyUnknown Cause = "host key unknown" // no file has a key of the host
	CauseHostKeyUnclear Cause = "host key unclear" // a line that can't be read may have the host's key
	CauseHostKeyChanged Cause = "host key changed" // the facts: the known_hosts file with another key, the host's name in it
	CauseHostKeyRefused Cause = "host key refused" // the ssh command refuses the host's key
)

// Causes in logging in.
const (
	CauseNoKey          Cause = "no key"          // there is no key to log in with
	CauseKeyExposed     Cause = "key exposed"     // others may read a key; the facts: the files of such keys
	CauseKeyEncrypted   Cause = "key encrypted"   // a key has a passphrase; the facts: the files of such keys
	CauseKeyRefused     Cause = "key refused"     // the server takes none of the keys; the facts: their fingerprints
	CauseLoginRefused   Cause = "login refused"   // the ssh command can't log in
	CauseAccountUseless Cause = "account useless" // the server lets the account in, and serves it nothing
	CauseNoSFTP         Cause = "no SFTP"         // the server does not offer SFTP to the account
)

// Causes on this machine: the ssh command, and files that say how to connect.
const (
	CauseNoSSH               Cause = "no ssh"               // the program ssh is not installed
	CauseNoCommand           Cause = "no command"           // there is no program of that name
	CauseCommandArguments    Cause = "command arguments"    // the program's name has spaces in it, and there is no such program
	CauseCommandUntrusted    Cause = "command untrusted"    // root does not run a program that others can replace
	CauseSSHConfig           Cause = "ssh_config"           // the ssh command does not understand its settings
	CauseSettingsForeign     Cause = "settings foreign"     // the facts: a file that belongs to another user, the ID of this one
	CauseSettingsWritable    Cause = "settings writable"    // the fact: a file that others may write
	CauseSettingsReplaceable Cause = "settings replaceable" // the fact: a file that others may put in its place
)

// A CauseError is an error and its cause. Its text is the error's alone.
type CauseError struct {
	Cause Cause
	Facts []string // as the cause's documentation tells
	Err   error
}

func (e *CauseError) Error() string { return e.Err.Error() }
func (e *CauseError) Unwrap() error { return e.Err }

// because returns err with a cause.
func because(c Cause, err error, facts ...string) error { return &CauseError{c, facts, err} }

// becausef is because with a new error.
func becausef(c Cause, format string, args ...any) error {
	return because(c, fmt.Errorf(format, args...))
}
