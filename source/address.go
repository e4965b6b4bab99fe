package source

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"permafrost/internal/hostfs"
)

// Addresses say where permafrost reaches the parts of an instance, as far as that is not where Mastodon reaches them: beside a
// pooler, or from outside of a container. What is empty is as the settings file has it. They come from whoever runs permafrost.
type Addresses struct {
	Postgres  PostgresAddress
	Redis     RedisAddress
	Sidekiq   RedisAddress
	MediaRoot string

	// Environment is that of Mastodon's container, where it runs in one. It stands for all that the settings file says: Compose
	// reads quotes and dollar signs in an env_file otherwise than Mastodon does, and each version of Compose otherwise.
	Environment map[string]string
}

// A PostgresAddress says where the database is.
type PostgresAddress struct {
	Host         string // a name or an address; or the directory of a Unix socket, where it begins with /
	Port         int
	User         string
	Name         string
	PasswordFile string
	SSLMode      string
	SSLRootCert  string

	password string // what PasswordFile holds
}

// A RedisAddress says where a Redis is: by a URL, which holds no password, or by sentinels.
type RedisAddress struct {
	URL            string
	Sentinels      string // host:port of each, with commas between; both this and the master's name, or neither
	SentinelMaster string
	PasswordFile   string

	password string // what PasswordFile holds
}

// An addressError is about what permafrost's own configuration says, and not about the settings file.
type addressError struct{ error }

func (e *addressError) Unwrap() error { return e.error }

// whole reports whether nothing of the settings file says where the database is.
func (a *PostgresAddress) whole() bool {
	return a.Host != "" && a.Name != "" && a.User != "" && (a.password != "" || strings.HasPrefix(a.Host, "/"))
}

// server reports whether the settings file does not say which server and which database it is.
func (a *PostgresAddress) server() bool { return a.Host != "" && a.Name != "" }

// apply changes d to what a says.
func (a *PostgresAddress) apply(d *Database) error {
	if strings.Contains(a.Host, "@") || strings.Contains(a.Host, "://") || strings.Contains(a.Name, "://") {
		return &addressError{Because(CauseAddressURL, errors.New("[postgres] host or dbname is not a name"))}
	}
	if a.SSLMode != "" && !isSSLMode(a.SSLMode) {
		return &addressError{Because(CauseAddressSSLMode, errors.New("[postgres] sslmode is not known"), sslModes...)}
	}
	if a.Host != "" {
		d.Host = a.Host
		delete(d.Params, "hostaddr")
	}
	if a.Port != 0 {
		d.Port = a.Port
	}
	for _, part := range []struct {
		field *string
		value string
	}{{&d.User, a.User}, {&d.Name, a.Name}, {&d.Password, a.password}, {&d.SSLMode, a.SSLMode}} {
		if part.value != "" {
			*part.field = part.value
		}
	}
	if a.SSLRootCert != "" {
		d.Params["sslrootcert"] = a.SSLRootCert
	}
	d.Elsewhere = *a != PostgresAddress{}
	return nil
}

// whole reports whether nothing of the settings file says where the Redis is.
func (a *RedisAddress) whole() bool { return a.URL != "" && a.password != "" }

// server reports whether the settings file does not say which server it is.
func (a *RedisAddress) server() bool { return a.URL != "" || a.Sentinels != "" }

// apply changes r to what a, the table of that name, says. A URL without a user, or a database, leaves that as it is.
func (a *RedisAddress) apply(table string, r *Redis) error {
	if a.URL != "" {
		if err := a.applyURL(r); err != nil {
			return &addressError{becauseUnless(CauseRedisAddress, fmt.Errorf("[%s] url: %w", table, err))}
		}
	}
	if a.password != "" {
		r.Password = a.password
	}
	if a.Sentinels != "" || a.SentinelMaster != "" {
		if err := a.applySentinels(r); err != nil {
			return &addressError{Because(CauseSentinels, fmt.Errorf("[%s] %w", table, err))}
		}
	}
	r.Elsewhere = *a != RedisAddress{}
	return nil
}

func (a *RedisAddress) applyURL(r *Redis) error {
	u, err := url.Parse(strings.TrimSpace(a.URL))
	if err != nil {
		return errors.New("not a URL")
	}
	if p, _ := u.User.Password(); p != "" {
		return errors.New("it must not hold a password: write the password into a file, and name the file as password_file")
	}
	user := u.User.Username()
	u.User = nil
	to, err := parseRedisURL(u.String(), r.DB, false)
	if err != nil {
		return err
	}
	if user == "" {
		user = r.User
	}
	*r = Redis{Network: to.Network, Addr: to.Addr, TLS: to.TLS, DB: to.DB, User: user, Password: r.Password}
	return nil
}

// applySentinels has r found by sentinels. They are asked with their password of the settings, else with that of Redis.
func (a *RedisAddress) applySentinels(r *Redis) error {
	switch {
	case a.URL != "":
		return errors.New("url and sentinels exclude each other")
	case a.Sentinels == "" || a.SentinelMaster == "":
		return errors.New("sentinels and sentinel_master go together, and one is missing")
	}
	list, err := parseSentinels(a.Sentinels, sentinelPort)
	if err != nil {
		return fmt.Errorf("sentinels %w", err)
	}
	password := r.SentinelPassword
	if len(r.Sentinels) == 0 {
		password = r.Password
	}
	*r = Redis{Network: "tcp", TLS: r.TLS, DB: r.DB, User: r.User, Password: r.Password, Sentinels: list, SentinelMaster: a.SentinelMaster, SentinelPassword: password}
	return nil
}

// complete reads the password files.
func (a *Addresses) complete() (err error) {
	for _, f := range []struct {
		table, path string
		password    *string
	}{
		{"postgres", a.Postgres.PasswordFile, &a.Postgres.password},
		{"redis", a.Redis.PasswordFile, &a.Redis.password},
		{"sidekiq", a.Sidekiq.PasswordFile, &a.Sidekiq.password},
	} {
		if f.path == "" {
			continue
		}
		if *f.password, err = readPassword(f.path); err != nil {
			return Because(CausePasswordFile, fmt.Errorf("[%s] password_file: %w", f.table, err))
		}
	}
	if a.MediaRoot != "" && !filepath.IsAbs(a.MediaRoot) {
		return Because(CauseMediaRoot, fmt.Errorf("[media] root: %q is not an absolute path", a.MediaRoot))
	}
	return nil
}

// maxPassword bounds a password file, in bytes.
const maxPassword = 4 << 10

// readPassword reads the one line of a password file, with the rights of who decides where its path leads. Its errors quote nothing of the file.
func readPassword(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	data, _, err := hostfs.ReadFile(abs, maxPassword)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	switch {
	case text == "":
		return "", fmt.Errorf("%s is empty", abs)
	case strings.ContainsAny(text, "\r\n\x00"):
		return "", fmt.Errorf("%s has more than one line", abs)
	}
	return text, nil
}
