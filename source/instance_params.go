package source

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A treatment is what is done with a parameter of a database URL.
type treatment int

const (
	unknown  treatment = iota // neither libpq's nor Rails'
	honoured                  // pgx and pg_dump are both given it
	passed                    // passed over: it chooses neither server, database nor credentials, and leaves a dump as it is
	refused                   // it chooses one of these, in a way that is not ours
)

// params are libpq's parameters, those of Rails, and what is done with them. Host, port, user, password, dbname and sslmode have
// fields of their own.
var params = func() map[string]treatment {
	m := make(map[string]treatment)
	for t, names := range map[treatment]string{
		honoured: `sslcert sslkey sslrootcert sslcrl sslcrldir sslcertmode sslsni sslnegotiation ssl_min_protocol_version
			ssl_max_protocol_version channel_binding require_auth requirepeer gssencmode krbsrvname connect_timeout hostaddr options
			target_session_attrs passfile`,
		refused: `service servicefile sslpassword requiressl replication load_balance_hosts scram_client_key scram_server_key
			oauth_issuer oauth_client_id oauth_client_secret oauth_scope`,
		passed: `application_name fallback_application_name client_encoding keepalives keepalives_idle keepalives_interval
			keepalives_count tcp_user_timeout sslcompression gsslib gssdelegation min_protocol_version max_protocol_version
			sslkeylogfile
			adapter pool timeout encoding prepared_statements statement_limit min_messages variables advisory_locks
			schema_search_path insert_returning reaping_frequency idle_timeout checkout_timeout max_threads max_connections
			min_connections max_age keepalive pool_jitter connect_retries retry_deadline connection_retries lock_wait_timeout
			migrations_paths schema_dump schema_cache_path lazily_load_schema_cache seeds database_tasks
			use_metadata_table query_cache replica strict_strings_by_default reconnect pgbouncer`,
	} {
		for name := range strings.FieldsSeq(names) {
			m[name] = t
		}
	}
	return m
}()

// setParam takes over a parameter of a database URL. Where elsewhere is true, server and database are not what the URL names, and
// nothing is refused. Its errors name the parameter where it is a known one, and quote no value.
func (d *Database) setParam(name, value string, elsewhere bool) error {
	t := params[name]
	switch {
	case t == honoured && name == "hostaddr":
		if _, err := netip.ParseAddr(value); err != nil {
			return errors.New("hostaddr is not an address like 192.0.2.1")
		}
		d.Params[name] = value
	case t == honoured:
		d.Params[name] = value
	case t == passed || elsewhere:
	case t == refused:
		return Because(CauseParameterRefused, fmt.Errorf("permafrost can't do what the parameter %s asks for", name))
	default:
		// Its name may be half of an unencoded password: it is quoted only if it can't be.
		if isParamName(name) {
			return Because(CauseParameterUnknown, fmt.Errorf("the parameter %s is unknown", name))
		}
		return Because(CauseParameterHidden, errors.New("a parameter behind the ? is unknown"))
	}
	return nil
}

// isParamName reports whether a name is like those of parameters: words of small letters.
func isParamName(name string) bool {
	return name != "" && len(name) <= 30 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") == "" && !strings.Contains(name, "__")
}
