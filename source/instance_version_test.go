package source

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Mastodon's version is read of its own file, of which each part may be missing or nonsense.
func TestVersion(t *testing.T) {
	const text = `# frozen_string_literal: true

module Mastodon
  module Version
    module_function

    def major
      4
    end

    def minor
      3
    end

    def patch
      11
    end

    def default_prerelease
      'rc.1'
    end

    def prerelease
      version_configuration[:prerelease].presence || default_prerelease
    end
  end
end
`
	for name, x := range map[string]struct{ text, want string }{
		"release candidate": {text, "4.3.11-rc.1"},
		"release":           {strings.Replace(text, "'rc.1'", "''", 1), "4.3.11"},
		"old":               {strings.NewReplacer("default_prerelease\n      'rc.1'", "suffix\n      'rc3'").Replace(text), "4.3.11-rc3"},
		"absent":            {"", ""},
		"nonsense":          {"module Mastodon\nend\n", "error"},
		"hostile":           {strings.Replace(text, "11", "`id`", 1), "error"},
		"long":              {text + strings.Repeat("#", maxVersion), "error"},
	} {
		dir := t.TempDir()
		if x.text != "" {
			if err := os.MkdirAll(filepath.Join(dir, "lib/mastodon"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "lib/mastodon/version.rb"), []byte(x.text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := (&Instance{Dir: dir}).Version()
		if err != nil {
			got = "error"
		}
		if got != x.want {
			t.Errorf("%s: %q, want %q (%v)", name, got, x.want, err)
		}
	}
}
