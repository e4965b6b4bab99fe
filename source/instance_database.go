package source

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"permafrost/internal/hint"
)

// A Database says how to reach a PostgreSQL database.
type Database struct {
	Host     string // a name or an address; or the directory of a Unix socket, where it begins with /
	Port     int
	Name     string
	User     string
	Password string
	SSLMode  string            // libpq's sslmode
	Params   map[string]string // further libpq parameters of a URL, by libpq's names
	Pooler   bool              // the settings look like PgBouncer: its port, or no prepared statements
}

// String names the database without its password.
func (d Database) String() string {
	where := d.Host + ":" + strconv.Itoa(d.Port)
	if !d.Socket() {
		where = net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
	}
	return fmt.Sprintf("database %s at %s as user %s", d.Name, where, d.User)
}

// GoString is String, so that %#v shows no password either.
func (d Database) GoString() string { return d.String() }

// Socket reports whether the server is reached through a Unix socket.
func (d Database) Socket() bool { return strings.HasPrefix(d.Host, "/") }

// pgBouncerPort is PgBouncer's by default.
const pgBouncerPort = 6432

// libpqParams are those connection parameters that pgx and pg_dump can both be given and that leave the
// bytes of a dump as they are (client_encoding would not). Rails' own (pool, timeout, ...) are dropped.
var libpqParams = map[string]bool{
	"sslcert": true, "sslkey": true, "sslrootcert": true, "sslcrl": true, "sslcrldir": true, "sslcertmode": true,
	"sslsni": true, "sslnegotiation": true, "ssl_min_protocol_version": true, "ssl_max_protocol_version": true,
	"channel_binding": true, "require_auth": true, "requirepeer": true, "gssencmode": true, "krbsrvname": true,
	"connect_timeout": true, "hostaddr": true, "options": true, "target_session_attrs": true,
}

// database puts together the settings of one database. As in Rails, a URL wins, and what it leaves out
// comes from the single variables: with prefix, then without it, then the default.
func (e *environ) database(prefix string, urls ...string) (Database, error) {
	pick := func(name, otherwise string) string {
		if v := e.first(prefix+name, name); v != "" {
			return v
		}
		return otherwise
	}
	d := Database{
		Host:     pick("DB_HOST", "localhost"),
		Name:     pick("DB_NAME", "mastodon_production"),
		User:     pick("DB_USER", "mastodon"),
		Password: pick("DB_PASS", ""),
		SSLMode:  pick("DB_SSLMODE", "prefer"),
		Params:   make(map[string]string),
	}
	if v, set := e.lookup("DB_HOST"); set && v == "" && e.get(prefix+"DB_HOST") == "" {
		d.Host = "/var/run/postgresql" // libpq's own default, as Debian builds it
	}
	var err error
	if d.Port, err = parsePort(pick("DB_PORT", "5432")); err != nil {
		return d, fmt.Errorf("%sDB_PORT: %w", prefix, err)
	}
	for _, name := range urls {
		if raw := e.get(name); raw != "" {
			if err := d.mergeURL(raw); err != nil {
				return d, hint.Wrap(fmt.Errorf("%s: %w", name, err),
					"it reads postgresql://USER:PASSWORD@HOST:PORT/DATABASE; special characters of the password are percent-encoded (@ as %40, / as %2F, # as %23)")
			}
			break
		}
	}
	// Where a URL got into a single variable, its password would show in messages.
	if strings.Contains(d.Host, "@") || strings.Contains(d.Name, "://") {
		return d, hint.Wrap(fmt.Errorf("%sDB_HOST or DB_NAME is not a name", prefix), "a whole URL belongs into DATABASE_URL")
	}
	switch d.SSLMode {
	case "disable", "allow", "prefer", "require", "verify-ca", "verify-full":
	default:
		return d, fmt.Errorf("sslmode of the database is none of disable, allow, prefer, require, verify-ca, verify-full")
	}
	prepared := e.first(prefix+"PREPARED_STATEMENTS", "PREPARED_STATEMENTS")
	d.Pooler = d.Port == pgBouncerPort || prepared == "false"
	return d, nil
}

// mergeURL overrides d with what a database URL says. Its errors quote nothing of the URL, which holds a
// password. net/url is no help here: it refuses a host like %2Fvar%2Frun, and its errors quote.
func (d *Database) mergeURL(raw string) error {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(raw), "://")
	if scheme = strings.ToLower(scheme); !ok || scheme != "postgres" && scheme != "postgresql" {
		return errors.New("not a postgresql:// URL")
	}
	if strings.ContainsAny(rest, "# \t\n") {
		return errors.New("a character in the URL is not percent-encoded")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, name, _ := strings.Cut(rest, "/")
	userinfo, hostport := "", authority
	if at := strings.IndexByte(authority, '@'); at >= 0 {
		userinfo, hostport = authority[:at], authority[at+1:]
	}
	if strings.ContainsAny(hostport, "@,") || strings.Contains(name+query, "@") {
		return errors.New("the URL has more than one @, or more than one host")
	}
	if strings.Contains(name, "/") {
		return errors.New("the database's name contains a slash")
	}
	user, password, _ := strings.Cut(userinfo, ":")
	host, port, err := splitHostPort(hostport)
	if err != nil {
		return err
	}
	parts := map[string]string{"user": user, "password": password, "host": host, "port": port, "dbname": name}
	for pair := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(pair, "=")
		switch k {
		case "username":
			k = "user"
		case "database":
			k = "dbname"
		}
		parts[k] = v
	}
	return d.mergeParts(parts)
}

// mergeParts takes over the percent-encoded parts of a URL, by libpq's names; empty ones change nothing.
func (d *Database) mergeParts(parts map[string]string) error {
	for k, v := range parts {
		v, err := url.PathUnescape(v)
		if err != nil || strings.ContainsRune(v, 0) {
			return errors.New("a percent sign in the URL is not followed by two hexadecimal digits")
		}
		if v == "" {
			continue
		}
		switch k {
		case "user":
			d.User = v
		case "password":
			d.Password = v
		case "host":
			d.Host = v
		case "port":
			if d.Port, err = parsePort(v); err != nil {
				return err
			}
		case "dbname":
			d.Name = v
		case "sslmode":
			d.SSLMode = v
		default:
			if libpqParams[k] {
				d.Params[k] = v
			}
		}
	}
	return nil
}

// splitHostPort splits host, host:port, [address]:port; either part may be missing.
func splitHostPort(s string) (host, port string, err error) {
	if after, ok := strings.CutPrefix(s, "["); ok {
		host, rest, ok := strings.Cut(after, "]")
		port, isPort := strings.CutPrefix(rest, ":")
		if !ok || !isPort && rest != "" {
			return "", "", errors.New("the address in square brackets is malformed")
		}
		return host, port, nil
	}
	host, port, _ = strings.Cut(s, ":")
	if strings.Contains(port, ":") {
		return "", "", errors.New("the host holds more than one colon; an IPv6 address wants square brackets")
	}
	return host, port, nil
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 {
		// The text may be half of an unencoded password: it is not quoted.
		return 0, errors.New("the port is not a number from 1 to 65535")
	}
	return int(n), nil
}
