// Package keystest has keyrings that are the same in every process, as a corpus of a fuzz target needs them.
package keystest

import (
	"os"
	"testing"

	"permafrost/repo/keys"
)

// Read returns the keyring of a key file, such as those in testdata of package keys.
func Read(tb testing.TB, path string) *keys.Keyring {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	k, err := keys.ParseFile(data)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}
