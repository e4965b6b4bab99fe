package source

import "fmt"

// generated are the variables whose values Mastodon's own set-up generates: long and random, so that a keyed hash of one tells
// nobody anything. Passwords are not among them.
var generated = []string{
	"ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY", "ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT", "ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY",
	"OTP_SECRET", "SECRET_KEY_BASE", "VAPID_PRIVATE_KEY",
}

// GeneratedKeys are the values of some of these, by their variables. They are not shown where an Instance is.
type GeneratedKeys map[string]string

func (k GeneratedKeys) String() string { return fmt.Sprintf("%d keys", len(k)) }

// generatedKeys returns the values of those that are set.
func (e *environ) generatedKeys() GeneratedKeys {
	keys := make(GeneratedKeys)
	for _, name := range generated {
		if v := e.get(name); v != "" {
			keys[name] = v
		}
	}
	return keys
}
