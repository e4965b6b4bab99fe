// Package source describes a Mastodon instance as a backup sees it: where its four parts are (secrets,
// PostgreSQL, media, Redis), and the files of its media tree.
//
// Load reads everything from the instance's own .env.production, so that nobody types it twice. The packages
// below this one open what is described here.
//
// An error that a person can do something about is a CauseError, here and in the packages below. Its text names no flag
// and no command: what to do is for the program to say, by the cause and its facts.
package source

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"permafrost/internal/hostfs"
)

// maxEnv bounds a settings file, in bytes. Real ones have a few thousand.
const maxEnv = 256 << 10

// An Instance is a Mastodon installation: what its .env.production and the live directory tell.
type Instance struct {
	Dir     string // the live directory: absolute
	EnvPath string // .env.production: absolute

	// The file as it is, byte for byte, with its attributes.
	Env   []byte
	Mode  uint32 // permission bits with setuid, setgid and sticky: 07777
	UID   uint32
	GID   uint32
	MTime int64 // nanoseconds since 1970

	Others []EnvFile // the settings files beside it that Mastodon loads

	Domain    string // LOCAL_DOMAIN: the instance's identity
	WebDomain string // WEB_DOMAIN, or the Domain

	Database Database
	Replica  *Database // nil unless a read replica is configured
	Redis    Redis
	Sidekiq  *Redis // nil where Sidekiq's queues are in Redis, the one above
	Media    Media

	Generated GeneratedKeys // secrets that Mastodon's set-up generated, by the name of their variable

	Deployment Deployment // of the kind "" until somebody has looked

	Warnings []string // what an administrator should know; holds no secret

	OSUser string       // the user Mastodon runs as: a name, or a number where it has none
	User   *hostfs.User // that user, where this process is root's and he is not root: who to be for all that his settings name
}

// Media says where attachments are: in the local tree Root, or in object storage (External is not nil, and
// nothing under Root can be trusted to be the media).
type Media struct {
	Root     string // absolute
	External *External

	Elsewhere bool // permafrost's own configuration says where Root is

	// Open opens Root for reading, and says whose rights the tree below it is read with; nil where that goes by its path.
	Open func() (fd int, as *hostfs.User, err error)
}

// External names a bucket or container of object storage.
type External struct {
	Kind     string // s3, swift or azure
	Bucket   string
	Endpoint string
	Region   string
	Prefix   string
}

// LoadDomain is Load for who wants no more than the instance's domain, and what an administrator should know.
func LoadDomain(dir, osUser string) (domain string, warnings []string, err error) {
	inst, env, err := readInstance(dir, osUser, nil)
	if err != nil {
		return "", nil, err
	}
	domain = env.get("LOCAL_DOMAIN")
	if err = env.err; err == nil {
		err = checkDomain(domain)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", inst.EnvPath, err)
	}
	return domain, append(inst.Warnings, env.missingSecrets()...), nil
}

// Load reads the instance in the live directory dir from its .env.production. Mastodon's user is the owner of the directory, or
// the one that osUser names, if it is not empty. Some parts may be reached elsewhere than its settings say: at has these.
func Load(dir, osUser string, at Addresses) (*Instance, error) {
	if err := at.complete(); err != nil {
		return nil, err
	}
	inst, env, err := readInstance(dir, osUser, at.Environment)
	if err != nil {
		return nil, err
	}
	if err := inst.settings(env, &at); err != nil {
		if own := (*addressError)(nil); errors.As(err, &own) {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", inst.EnvPath, err)
	}
	return inst, nil
}

// readInstance finds the live directory and Mastodon's user, and reads the settings. An environment that Mastodon runs with stands
// for what they say.
func readInstance(dir, osUser string, environment map[string]string) (*Instance, *environ, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, nil, err
	}
	inst := &Instance{Dir: abs, EnvPath: filepath.Join(abs, settingsName)}
	live, err := hostfs.Resolve(abs)
	if err == nil {
		defer live.Close()
		if !live.Info.IsDir() {
			err = fmt.Errorf("%s is not a directory", abs)
		}
	}
	if err != nil {
		return nil, nil, Because(CauseNoLive, fmt.Errorf("opening the Mastodon directory: %w", err))
	}
	if err := inst.identify(live, osUser); err != nil {
		return nil, nil, err
	}
	env, err := inst.readFiles(live, environment)
	return inst, env, err
}

// settings fills in everything that the variables say.
func (inst *Instance) settings(env *environ, at *Addresses) error {
	inst.Domain = env.get("LOCAL_DOMAIN")
	inst.WebDomain = env.get("WEB_DOMAIN")
	if inst.WebDomain == "" {
		inst.WebDomain = inst.Domain
	}
	if err := checkDomain(inst.Domain); err != nil {
		return err
	}
	var err error
	if inst.Database, err = env.database("", &at.Postgres, "PRIMARY_DATABASE_URL", "DATABASE_URL"); err != nil {
		return err
	}
	if env.get("REPLICA_DB_NAME") != "" || env.get("REPLICA_DATABASE_URL") != "" {
		replica, err := env.database("REPLICA_", &PostgresAddress{}, "REPLICA_DATABASE_URL")
		if err != nil {
			return err
		}
		inst.Replica = &replica
	}
	if inst.Redis, inst.Sidekiq, err = env.redises(at); err != nil {
		return err
	}
	if inst.Media = env.media(inst.Dir); at.MediaRoot != "" {
		inst.Media.Root, inst.Media.Elsewhere = filepath.Clean(at.MediaRoot), true
	}
	inst.Generated = env.generatedKeys()
	inst.Warnings = append(inst.Warnings, env.missingSecrets()...)
	return env.err
}

// checkDomain refuses what can't name an instance: the name goes into paths, lists and comparisons.
func checkDomain(domain string) error {
	if domain == "" {
		return Because(CauseNoDomain, errors.New("LOCAL_DOMAIN is not set"))
	}
	forbidden := func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\@?#"'$()`, r) }
	if strings.ContainsFunc(domain, forbidden) || strings.Trim(domain, ".") == "" || len(domain) > 255 {
		return errors.New("LOCAL_DOMAIN is not a domain name, like example.social")
	}
	return nil
}

// media tells where attachments are kept. The order is Mastodon's own: the first store that is on wins.
func (e *environ) media(dir string) Media {
	root := filepath.Join(dir, "public", "system")
	if p := e.get("PAPERCLIP_ROOT_PATH"); p != "" {
		root = strings.ReplaceAll(p, ":rails_root", dir)
		if !filepath.IsAbs(root) {
			root = filepath.Join(dir, root)
		}
	}
	m := Media{Root: filepath.Clean(root)}
	switch "true" {
	case e.get("S3_ENABLED"):
		m.External = &External{Kind: "s3", Bucket: e.get("S3_BUCKET"), Endpoint: e.first("S3_ENDPOINT", "S3_HOSTNAME"), Region: e.get("S3_REGION"), Prefix: e.get("S3_KEY_PREFIX")}
		if m.External.Region == "" {
			m.External.Region = "us-east-1"
		}
	case e.get("SWIFT_ENABLED"):
		m.External = &External{Kind: "swift", Bucket: e.get("SWIFT_CONTAINER"), Endpoint: e.first("SWIFT_OBJECT_URL", "SWIFT_AUTH_URL"), Region: e.get("SWIFT_REGION")}
	case e.get("AZURE_ENABLED"):
		m.External = &External{Kind: "azure", Bucket: e.get("AZURE_CONTAINER_NAME"), Endpoint: e.get("AZURE_STORAGE_ACCOUNT")}
	}
	return m
}

// CheckMedia returns an error where the media directory can't be one of media alone: it holds Mastodon itself. Its settings
// would be stored as media then, and where it is the root directory all of the host.
func (inst *Instance) CheckMedia() error {
	inside, err := filepath.Rel(inst.Media.Root, inst.Dir)
	if err != nil || !filepath.IsLocal(inside) {
		return nil
	}
	return Because(CauseNotMediaAlone, fmt.Errorf("%s holds Mastodon itself, and not media alone", inst.Media.Root))
}

// missingSecrets names each group of secrets without which a restored instance loses something.
func (e *environ) missingSecrets() []string {
	groups := []struct{ keys, loss string }{
		{"ACTIVE_RECORD_ENCRYPTION_PRIMARY_KEY ACTIVE_RECORD_ENCRYPTION_DETERMINISTIC_KEY ACTIVE_RECORD_ENCRYPTION_KEY_DERIVATION_SALT",
			"Mastodon 4.3 and later do not start, and two-factor logins fail"},
		{"SECRET_KEY_BASE", "every session ends"},
		{"VAPID_PRIVATE_KEY VAPID_PUBLIC_KEY", "every push subscription is lost"},
	}
	var warnings []string
	for _, g := range groups {
		var missing []string
		for _, key := range strings.Fields(g.keys) {
			if e.values[key] == "" {
				missing = append(missing, key)
			}
		}
		if len(missing) > 0 {
			warnings = append(warnings, fmt.Sprintf("%s missing from the settings: a restore without it means that %s", strings.Join(missing, ", "), g.loss))
		}
	}
	return warnings
}
