// Package config gives a command's flags the values that the command line does not: from the environment, and from the configuration file.
// A file that somebody else could have written is not obeyed. A key that belongs to no flag is an error.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"permafrost/cmd/permafrost/internal/typo"
	"permafrost/internal/escape"
	"permafrost/internal/hint"
	"permafrost/internal/hostfs"
)

// DefaultFile is read where no other file is given. It alone may be absent.
const DefaultFile = "/etc/permafrost.toml"

// maxConfigFile bounds a configuration file, in bytes.
const maxConfigFile = 1 << 20

// A Setting gives a flag its value from elsewhere. What a flag says on the command line goes before the environment,
// and that before the configuration file.
type Setting struct {
	Flag     string
	Env      string // variable of the environment, or ""
	Key      string // key of the configuration file, or ""; "keep.daily" is daily in the table [keep]
	Kind     Kind
	Commands string // names of the commands that it is for; empty: all
}

// A Kind is what the configuration file must give a key.
type Kind string

const (
	isText   Kind = "a string"
	isNumber Kind = "a number"
	isBool   Kind = "true or false"
	isList   Kind = "a string or a list of strings"
)

var settings = []Setting{
	{"repo", "PERMAFROST_REPOSITORY", "repository", isText, ""},
	{"identity", "PERMAFROST_IDENTITY_FILE", "identity_file", isList, ""},
	{"writer-key", "PERMAFROST_WRITER_KEY", "writer_key", isText, ""},
	{"fingerprint", "PERMAFROST_FINGERPRINT", "fingerprint", isText, ""},
	{"cache-dir", "PERMAFROST_CACHE_DIR", "cache_dir", isText, ""},
	{"state-dir", "PERMAFROST_STATE_DIR", "state_dir", isText, ""},
	{"ssh-config", "PERMAFROST_SSH_CONFIG", "ssh_config", isText, ""},
	{"ssh-command", "", "ssh_command", isText, ""},
	{"limit-upload", "", "limit_upload", isText, ""},
	{"limit-download", "", "limit_download", isText, ""},
	{"retry-lock", "", "retry_lock", isText, ""},
	{"live", "", "live", isText, "init snapshot"},
	{"user", "PERMAFROST_USER", "user", isText, "init snapshot"},
	{"postgres-host", "PERMAFROST_POSTGRES_HOST", "postgres.host", isText, "snapshot"},
	{"postgres-port", "PERMAFROST_POSTGRES_PORT", "postgres.port", isNumber, "snapshot"},
	{"postgres-user", "PERMAFROST_POSTGRES_USER", "postgres.user", isText, "snapshot"},
	{"postgres-dbname", "PERMAFROST_POSTGRES_DBNAME", "postgres.dbname", isText, "snapshot"},
	{"postgres-password-file", "PERMAFROST_POSTGRES_PASSWORD_FILE", "postgres.password_file", isText, "snapshot"},
	{"postgres-sslmode", "PERMAFROST_POSTGRES_SSLMODE", "postgres.sslmode", isText, "snapshot"},
	{"postgres-sslrootcert", "PERMAFROST_POSTGRES_SSLROOTCERT", "postgres.sslrootcert", isText, "snapshot"},
	{"postgres-bin", "PERMAFROST_POSTGRES_BIN", "postgres.bin", isText, "snapshot"},
	{"postgres-lock-wait", "PERMAFROST_POSTGRES_LOCK_WAIT", "postgres.lock_wait", isText, "snapshot"},
	{"redis-url", "PERMAFROST_REDIS_URL", "redis.url", isText, "snapshot"},
	{"redis-sentinels", "PERMAFROST_REDIS_SENTINELS", "redis.sentinels", isText, "snapshot"},
	{"redis-sentinel-master", "PERMAFROST_REDIS_SENTINEL_MASTER", "redis.sentinel_master", isText, "snapshot"},
	{"redis-password-file", "PERMAFROST_REDIS_PASSWORD_FILE", "redis.password_file", isText, "snapshot"},
	{"redis-spool", "PERMAFROST_REDIS_SPOOL", "redis.spool", isText, "snapshot"},
	{"sidekiq-url", "PERMAFROST_SIDEKIQ_URL", "sidekiq.url", isText, "snapshot"},
	{"sidekiq-password-file", "PERMAFROST_SIDEKIQ_PASSWORD_FILE", "sidekiq.password_file", isText, "snapshot"},
	{"media-root", "PERMAFROST_MEDIA_ROOT", "media.root", isText, "snapshot"},
	{"follow", "", "media.follow", isList, "snapshot"},
	{"ignore-ctime", "", "media.ignore_ctime", isBool, "snapshot"},
	{"ignore-inode", "", "media.ignore_inode", isBool, "snapshot"},
	{"compose-engine", "PERMAFROST_COMPOSE_ENGINE", "compose.engine", isText, "snapshot run"},
	{"compose-project", "PERMAFROST_COMPOSE_PROJECT", "compose.project", isText, "snapshot run"},
	{"tag", "", "tags", isList, "snapshot"},
	{"exclude", "", "exclude", isList, "snapshot"},
	{"no-cache-media", "", "no_cache_media", isBool, "snapshot"},
	{"skip", "", "skip", isList, "snapshot"},
	{"strict", "", "strict", isBool, "snapshot"},
	{"secret", "", "extra_secrets", isList, "snapshot"},
	{"max-unused", "", "max_unused", isText, "forget prune"},
	{"keep-last", "", "keep.last", isNumber, "forget"},
	{"keep-hourly", "", "keep.hourly", isNumber, "forget"},
	{"keep-daily", "", "keep.daily", isNumber, "forget"},
	{"keep-weekly", "", "keep.weekly", isNumber, "forget"},
	{"keep-monthly", "", "keep.monthly", isNumber, "forget"},
	{"keep-yearly", "", "keep.yearly", isNumber, "forget"},
	{"keep-within", "", "keep.within", isText, "forget"},
	{"keep-tag", "", "keep.tags", isList, "forget"},
}

// serves reports whether the setting is for a command. The command run makes a snapshot, forgets and prunes: it has the
// settings of all three.
func (s *Setting) serves(command string) bool {
	for _, c := range strings.Fields(s.Commands) {
		if c == command || command == "run" && (c == "snapshot" || c == "forget" || c == "prune") {
			return true
		}
	}
	return s.Commands == ""
}

// Settings returns all settings, in the order in which help lists them.
func Settings() []Setting { return slices.Clone(settings) }

// A File is a configuration file's content: values by key.
type File map[string][]string

// Load reads a configuration file. It may be absent unless somebody chose it.
func Load(path string, chosen bool) (File, error) {
	text, err := readConfig(path)
	if errors.Is(err, fs.ErrNotExist) && !chosen {
		return nil, nil
	}
	if errors.Is(err, hostfs.ErrTooLarge) {
		return nil, fmt.Errorf("configuration %s is longer than %d bytes", path, maxConfigFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// readConfig reads a configuration file. It says where keys and secrets go and which commands are run: nobody obeys one that
// somebody else, but root, could have written.
func readConfig(path string) ([]byte, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if path == os.DevNull {
		return nil, nil
	}
	p, err := hostfs.Resolve(path)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	who, remedy := "root", "keep it in a directory of root's, such as "+DefaultFile+", as a file of root's: chown root:root, chmod go-w"
	if os.Geteuid() != 0 {
		who, remedy = "permafrost", "keep it where only you and root may write, as a file of yours: chmod go-w"
	}
	if why := p.Foreign(uint32(os.Geteuid())); why != "" {
		return nil, hint.Wrap(fmt.Errorf("%s does not obey %s: %s", who, path, why), remedy)
	}
	text, _, err := p.ReadFile(maxConfigFile)
	return text, err
}

// parse reads a configuration file's TOML. Every key must be one of the settings', of the right kind.
func parse(text string) (File, error) {
	var tree map[string]any
	if _, err := toml.Decode(text, &tree); err != nil {
		var malformed toml.ParseError
		if errors.As(err, &malformed) {
			// What the parser says of it may quote a secret that stands there.
			return nil, hint.Wrap(fmt.Errorf("line %d: not TOML, or a second value for a key", malformed.Position.Line),
				"each line reads KEY = VALUE, with text in \"quotes\"; `permafrost help config` lists the keys")
		}
		return nil, errors.New("not TOML")
	}
	c := make(File)
	return c, c.take("", tree)
}

// take adds the values of a table whose keys begin with prefix.
func (c File) take(prefix string, table map[string]any) error {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		key, value := prefix+name, table[name]
		if sub, ok := value.(map[string]any); ok && isTable(key) {
			if err := c.take(key+".", sub); err != nil {
				return err
			}
			continue
		}
		i := slices.IndexFunc(settings, func(s Setting) bool { return s.Key == key && key != "" })
		if i < 0 {
			return unknownKey(key)
		}
		words, ok := settings[i].Kind.words(value)
		if !ok {
			return fmt.Errorf("%s must be %s", key, settings[i].Kind)
		}
		c[key] = words
	}
	return nil
}

// isTable reports whether key names a table.
func isTable(key string) bool {
	return slices.ContainsFunc(settings, func(s Setting) bool { return strings.HasPrefix(s.Key, key+".") })
}

func unknownKey(key string) error {
	var known []string
	for _, s := range settings {
		known = append(known, s.Key)
	}
	err := fmt.Errorf("unknown key %s", escape.Name(key))
	if misplaced := misplacedKey(key); misplaced != nil {
		return misplaced
	}
	for _, k := range known {
		if strings.HasPrefix(k, key+"_") {
			return hint.Wrap(err, "did you mean "+k+"?")
		}
	}
	if near := typo.Nearest(key, known); near != "" {
		return hint.Wrap(err, "did you mean "+near+"?")
	}
	return hint.Wrap(err, "`permafrost help config` lists the keys")
}

// misplacedKey returns what is wrong with a key that stands in another table than its own: all that follows a line like [keep]
// belongs to that table, up to the next such line. It is nil for a name that no key has.
func misplacedKey(key string) error {
	table, name := "", key
	if i := strings.LastIndexByte(key, '.'); i >= 0 {
		table, name = key[:i], key[i+1:]
	}
	for _, s := range settings {
		own, known := "", s.Key
		if i := strings.LastIndexByte(s.Key, '.'); i >= 0 {
			own, known = s.Key[:i], s.Key[i+1:]
		}
		if known != name || known == "" {
			continue
		}
		switch {
		case own == "":
			return hint.Wrap(fmt.Errorf("%s is below [%s], and is no key of that table", name, table),
				fmt.Sprintf("move the line with %s to the top of the file, above the first line like [%s]", name, table))
		case table == "":
			return hint.Wrap(fmt.Errorf("%s is a key of the table [%s]", name, own), fmt.Sprintf("write it below a line [%s]", own))
		}
		return hint.Wrap(fmt.Errorf("%s is below [%s], and belongs to the table [%s]", name, table, own), fmt.Sprintf("move it below a line [%s]", own))
	}
	return nil
}

// words returns what a flag is given for a value of kind k.
func (k Kind) words(value any) (words []string, ok bool) {
	switch v := value.(type) {
	case string:
		return []string{v}, k == isText || k == isList
	case int64:
		return []string{strconv.FormatInt(v, 10)}, k == isNumber
	case bool:
		return []string{strconv.FormatBool(v)}, k == isBool
	case []any:
		for _, e := range v {
			s, isString := e.(string)
			if !isString {
				return nil, false
			}
			words = append(words, s)
		}
		return words, k == isList
	}
	return nil, false
}

// Fill gives a command's flags that the command line left alone their values from the environment and the configuration. The
// flags stay marked as not given.
func Fill(command string, flags *pflag.FlagSet, getenv func(string) string, c File) error {
	for _, s := range settings {
		f := flags.Lookup(s.Flag)
		if f == nil || f.Changed || !s.serves(command) {
			continue
		}
		words, from := c[s.Key], s.Key+" in the configuration"
		if s.Env != "" && getenv(s.Env) != "" {
			words, from = []string{getenv(s.Env)}, s.Env
		}
		for _, w := range words {
			if err := f.Value.Set(w); err != nil {
				return fmt.Errorf("%s: %w", from, plainDuration(f, w, err))
			}
		}
	}
	return nil
}

// plainDuration returns err, or where f is a duration what to write in its place.
func plainDuration(f *pflag.Flag, wrote string, err error) error {
	if f == nil || f.Value.Type() != "duration" {
		return err
	}
	return fmt.Errorf("%q is not a duration: write one like 30m or 1h30m", escape.Name(wrote))
}
