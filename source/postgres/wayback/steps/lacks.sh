# PostgreSQL: functions that name what a server lacks, or what it lets nobody do but a superuser.

# pg_packages names the extensions that the server does not have, with the package that may have each.
pg_packages() {
  local name package major=$((pg_version / 10000))
  while IFS= read -r name; do
    case $name in
      postgis*) package=postgresql-$major-postgis-3 ;;
      vector) package=postgresql-$major-pgvector ;;
      pg_repack | pg_cron | pg_partman | pg_hint_plan) package=postgresql-$major-${name#pg_} ;;
      plpython3u) package=postgresql-plpython3-$major ;;
      plperl | plperlu) package=postgresql-plperl-$major ;;
      pg_trgm | pgcrypto | hstore | citext | unaccent | pg_stat_statements | btree_gin | btree_gist | fuzzystrmatch | amcheck | pgstattuple) package=postgresql-contrib ;;
      *) package=postgresql-$major-${name//_/-} ;;
    esac
    say "This server does not have the extension $name. On Debian it may be in the package $package."
  done < "$plan/pg-extensions-missing" | pg_plain
}

# pg_left_out names what had another owner than Mastodon's role, and what was granted to others. What could not be made is no part
# of it.
pg_left_out() {
  local others
  others=$(awk -F ';' 'FILENAME != "-" { absent[$1]; next } !($1 in absent)' "$plan/pg-rehearsal" - < "$plan/pg-others" |
    sed 's/^[0-9]*; /  /')
  [ -z "$others" ] || printf "These objects had another owner, and will belong to Mastodon's role:\n%s\n" "$others" | pg_plain
  [ ! -s "$plan/pg-grants" ] || { printf 'These grants will not be made:\n' && sed 's/^/  /' "$plan/pg-grants"; } | pg_plain
}

# pg_subscriptions names what would take rows from another server, and would keep the database from being removed.
pg_subscriptions() {
  local all
  all=$(sed -n 's/^[0-9]*; [0-9]* [0-9]* \(SUBSCRIPTION - \)/  \1/p' "$plan/pg-list")
  [ -z "$all" ] || printf 'Subscriptions will not be made, as they would take rows from another server:\n%s\n' "$all" | pg_plain
}

# pg_may makes sure that who is no superuser may make databases for Mastodon's role, and rename the one that is there.
pg_may() {
  local first
  first=$(pg_ask "select format('alter role %I createdb;', rolname) from pg_roles where rolname = current_user and not rolcreatedb
    union all select format('create role %I login;', :'role') where not exists (select from pg_roles where rolname = :'role')
    union all select format('grant %I to %I;', rolname, current_user) from pg_roles where rolname = :'role' and not pg_has_role(oid, 'usage')
    union all
    select format('alter database %I owner to %I; -- it belongs to %s', datname, :'role', datdba::regrole) from pg_database
      where datname = :'db' and not pg_has_role(datdba, 'usage')" -v "role=$pg_role" -v "db=$pg_database")
  [ -z "$first" ] || fail "the role ${pg_admin:-$pg_role} may not make databases for $pg_role, or not rename the one that is there. Who administers the server runs first:
$first"
}

# pg_may_lose says whether the administrator does without each extension that is missing.
pg_may_lose() {
  local name one may
  [ -s "$plan/pg-extensions-missing" ] || return 1
  while IFS= read -r name; do
    may=no
    for one in "${pg_without[@]}"; do [ "$one" != "$name" ] || may=yes; done
    [ "$may" = yes ] || return 1
  done < "$plan/pg-extensions-missing"
}

# pg_fail_locale ends a step where no database can be made.
pg_fail_locale() {
  case $pg_collate in
    C | POSIX | C.* | '') fail "no database can be made on this server" ;;
  esac
  fail "no database can be made on this server. Where it has no locale $pg_collate, make it and restart PostgreSQL:
  localedef -i ${pg_collate%%.*} -f UTF-8 $pg_collate
Or set pg_collate and pg_ctype to C.UTF-8 in $plan/host.sh: then texts are sorted by their characters' numbers, capitals first, and nothing else differs."
}

# pg_unset passes on what psql says of statements about the database, and shows each that failed without the value, which may be a secret.
pg_unset() {
  pg_plain | sed -uE 's/^psql:<stdin>:[0-9]+: ERROR:  /This is not set for the database: /; s/^psql:<stdin>:[0-9]+: STATEMENT:  /  /; /^  ALTER /s/( SET [^ ]+) TO .*/\1/'
}
