package source

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
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

	Elsewhere bool      // [postgres] of permafrost's own configuration says where it is, at least in part
	Container Container // that has the server; nil where this host reaches Host by itself
	NoAddress *Reason   // why Host may have no address; nil if nothing is known
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

// database puts together the settings of one database. As in Rails, a URL wins, and what it leaves out
// comes from the single variables: with prefix, then without it, then the default. What at says goes before all of that, and
// the variable in its place is not looked at.
func (e *environ) database(prefix string, at *PostgresAddress, urls ...string) (Database, error) {
	pick := func(given, name, otherwise string) string {
		if given != "" {
			return given
		}
		if v := e.first(prefix+name, name); v != "" {
			return v
		}
		return otherwise
	}
	d := Database{
		Host:     pick(at.Host, "DB_HOST", "localhost"),
		Name:     pick(at.Name, "DB_NAME", "mastodon_production"),
		User:     pick(at.User, "DB_USER", "mastodon"),
		Password: pick(at.password, "DB_PASS", ""),
		SSLMode:  pick(at.SSLMode, "DB_SSLMODE", "prefer"),
		Params:   make(map[string]string),
	}
	if v, set := e.lookup("DB_HOST"); at.Host == "" && set && v == "" && e.get(prefix+"DB_HOST") == "" {
		d.Host = "/var/run/postgresql" // libpq's own default, as Debian builds it
	}
	var err error
	port := ""
	if at.Port != 0 {
		port = strconv.Itoa(at.Port)
	}
	if d.Port, err = parsePort(pick(port, "DB_PORT", "5432")); err != nil {
		return d, fmt.Errorf("%sDB_PORT: %w", prefix, err)
	}
	if err := e.databaseURL(&d, at, urls); err != nil {
		return d, err
	}
	// Where a URL got into a single variable, its password would show in messages.
	if strings.Contains(d.Host, "@") || strings.Contains(d.Name, "://") {
		return d, Because(CauseDatabaseName, fmt.Errorf("%sDB_HOST or DB_NAME is not a name", prefix))
	}
	if d.Params["hostaddr"] != "" && d.Socket() {
		return d, Because(CauseTwoHosts, errors.New("the database's URL has a hostaddr, and its host is the directory of a socket"))
	}
	if !isSSLMode(d.SSLMode) {
		return d, Because(CauseSSLMode, errors.New("the database's sslmode is not known"), sslModes...)
	}
	prepared := e.first(prefix+"PREPARED_STATEMENTS", "PREPARED_STATEMENTS")
	d.Pooler = d.Port == pgBouncerPort || prepared == "false" && at.Port == 0
	return d, nil
}

// databaseURL changes d to what the first of the URLs says that is set, and then to what at says.
func (e *environ) databaseURL(d *Database, at *PostgresAddress, urls []string) error {
	if !at.whole() {
		for _, name := range urls {
			raw := e.get(name)
			if raw == "" {
				continue
			}
			if err := d.mergeURL(raw, at.server()); err != nil {
				return becauseUnless(CauseDatabaseURL, fmt.Errorf("%s: %w", name, err))
			}
			break
		}
	}
	return at.apply(d)
}

// mergeURL overrides d with what a database URL says. Where elsewhere is true, server and database are not what it names. Its errors quote nothing of the URL, which holds a
// password. net/url is no help here: it refuses a host like %2Fvar%2Frun, and its errors quote.
func (d *Database) mergeURL(raw string, elsewhere bool) error {
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
	return d.mergeParts(parts, elsewhere)
}

// mergeParts takes over the percent-encoded parts of a URL, by libpq's names; empty ones change nothing.
func (d *Database) mergeParts(parts map[string]string, elsewhere bool) error {
	for _, k := range slices.Sorted(maps.Keys(parts)) {
		v, err := url.PathUnescape(parts[k])
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
			if err := d.setParam(k, v, elsewhere); err != nil {
				return err
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

var sslModes = []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}

func isSSLMode(s string) bool { return slices.Contains(sslModes, s) }
