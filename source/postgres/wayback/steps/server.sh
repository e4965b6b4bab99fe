# PostgreSQL: functions that reach its server.

# What is set in the shell would lead the programs elsewhere.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGSERVICE PGOPTIONS PGCLIENTENCODING

# pg_at runs a command without a terminal where the programs for "admin" or for "app", Mastodon's role, run: as that user, or in
# the server's container. What it says is shown as plain text.
pg_at() { { pg_start "$@" 2>&1 >&3 3>&- | pg_plain >&2; } 3>&1; }

# pg_plain shows control characters as question marks: who named an object may not write to the terminal.
pg_plain() { LC_ALL=C sed -u 's/[\x01-\x08\x0b-\x1f\x7f]/?/g; s/\xc2[\x80-\x9f]/?/g'; }

pg_start() {
  local user=$pg_role_user
  [ "$1" = app ] || [ -z "$pg_admin" ] || user=$pg_admin_user
  shift
  if [ -n "$pg_service" ]; then
    in_container "$pg_service" env LC_ALL=C "PGAPPNAME=$pg_tag" "$@"
  elif [ -n "$user" ]; then
    as "$user" setsid --wait env LC_ALL=C "HOME=$(getent passwd "$user" | cut -d: -f6)" "PGAPPNAME=$pg_tag" "$@"
  else
    setsid --wait env LC_ALL=C "PGAPPNAME=$pg_tag" "$@"
  fi
}

# pg runs a program of PostgreSQL as the superuser, where there is one. What pg_options holds is set on the server.
pg() {
  if [ -z "$pg_admin" ]; then pg_app "$@"; return; fi
  pg_at admin env "PGOPTIONS=${pg_options-}" "${pg_bin:+$pg_bin/}$1" -w -U "$pg_admin" ${pg_admin_host:+-h "$pg_admin_host"} ${pg_port:+-p "$pg_port"} "${@:2}"
}

# pg_app runs a program of PostgreSQL as Mastodon's role, as Mastodon reaches the server.
pg_app() {
  pg_at app env "PGOPTIONS=${pg_options-}" ${pg_passfile:+"PGPASSFILE=$pg_passfile"} "${pg_bin:+$pg_bin/}$1" -w -U "$pg_role" ${pg_host:+-h "$pg_host"} ${pg_port:+-p "$pg_port"} "${@:2}"
}

# pg_by runs a program of PostgreSQL as who restores: the superuser, or else Mastodon's role.
pg_by() {
  if [ "$pg_super" = t ]; then pg "$@"; else pg_app "$@"; fi
}

# pg_conn writes a connection string for a database: a name alone would be taken for a whole one where it looks like it.
pg_conn() {
  local name=${1//\\/\\\\}
  printf "dbname='%s'" "${name//\'/\\\'}"
}

# pg_sql runs a script of standard input in a database. It ends at the first error.
pg_sql() {
  "${pg_who:-pg}" psql -X -A -t -q -v ON_ERROR_STOP=1 -d "$(pg_conn "$1") client_encoding=UTF8" "${@:2}" -f -
}

# pg_ask runs a statement in a database that is no instance's.
pg_ask() { printf '%s\n' "$1" | pg_options='-c search_path=pg_catalog -c statement_timeout=0 -c client_min_messages=warning' pg_sql "$pg_main" "${@:2}"; }

# pg_begin finds the server and the programs of its version, and ends what an earlier try has left there. Each step begins with it.
pg_begin() {
  local state left standby
  umask 077
  export LC_ALL=C # names are bytes, whatever the encoding
  [ -s "$plan/pg-toc.dump" ] || fail "$plan/pg-toc.dump is missing: restore the snapshot once more"
  pg_bin=$(pg_dirs | tail -n 1)
  pg_passfile='' pg_super='' pg_main=template1
  pg_count_jobs
  trap pg_tidy EXIT
  pg_tidy
  [ -n "$pg_admin" ] || pg_login
  if ! state=$(pg_greet); then
    pg_main=postgres
    [ "$pg_database" != postgres ] && state=$(pg_greet) ||
      pg_fail_greet
  fi
  read -r pg_version pg_super standby left <<< "$state"
  [ "$standby" = f ] || fail "this server is a replica: nothing can be written to it"
  pg_programs $((pg_version / 10000))
  pg_hand=app
  if [ "$pg_super" = t ]; then pg_hand=admin; elif [ -z "$pg_passfile" ]; then pg_login; fi
  [ "$left" = 0 ] || pg_alone
}

# pg_greet writes the server's version, whether we are a superuser (t), whether it is a replica (t), and how many connections of
# an earlier try were ended.
pg_greet() {
  pg_ask "select current_setting('server_version_num'), (select rolsuper from pg_roles where rolname = current_user), pg_is_in_recovery(),
    count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = :'tag' and pid <> pg_backend_pid()" -v "tag=$pg_tag" -F ' '
}

pg_fail_greet() {
  local started="systemctl start postgresql"
  [ -z "$pg_service" ] || started="docker compose start $pg_service"
  fail "PostgreSQL does not answer as the user ${pg_admin:-$pg_role} on port $pg_port. If it does not run, start it: $started
If it runs, correct pg_port, pg_admin, pg_admin_user and pg_admin_host in $plan/host.sh. If you are not its administrator (superuser), set pg_admin=''"
}

# pg_wait waits until the server in a container has started. At its first start that makes a database first, and answers the network last.
pg_wait() {
  local try status
  [ -n "$pg_service" ] || return 0
  for try in {1..60}; do
    status=0
    pg_at app pg_isready -q -h 127.0.0.1 ${pg_port:+-p "$pg_port"} < /dev/null 2> /dev/null || status=$?
    case $status in 1 | 2) ;; *) break ;; esac # it does not answer yet
    [ "$try" != 1 ] || say "Waiting for PostgreSQL in the container of $pg_service to start."
    sleep 1
  done
}

# pg_alone waits until these connections have ended.
pg_alone() {
  local try left
  for try in {1..100}; do
    sleep 0.1
    left=$(pg_ask "select count(*) from pg_stat_activity where application_name = :'tag' and pid <> pg_backend_pid()" -v "tag=$pg_tag")
    [ "$left" != 0 ] || return 0
  done
  fail "the server does not end the connections of an earlier try, called $pg_tag"
}

# pg_dirs lists the directories where distributions keep the programs of each version, the newest last.
pg_dirs() {
  local dir
  [ -z "$pg_service" ] || return 0
  for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
    [ ! -x "$dir/pg_restore" ] || [ ! -x "$dir/psql" ] || printf '%s\n' "$dir"
  done | sort -V
}

# pg_programs chooses the programs of the server's version, or else the next newer ones, and lists what is in the dump.
pg_programs() {
  local dir n=0
  while read -r dir; do
    n=${dir//[!0-9]/}
    if [ "$n" -ge "$1" ]; then pg_bin=$dir; break; fi
  done < <(pg_dirs)
  if [ "$n" -lt "$1" ]; then
    n=$(pg_at admin "${pg_bin:+$pg_bin/}pg_dump" --version | sed -n 's/^[^0-9]*\([0-9]*\).*/\1/p')
    [ "${n:-0}" -ge "$1" ] || fail "the server is PostgreSQL $1, and the newest pg_dump here is of version ${n:-none}: apt-get install postgresql-client-$1"
  fi
  [ "$plan/pg-list" -nt "$plan/pg-toc.dump" ] || pg_at admin "${pg_bin:+$pg_bin/}pg_restore" -l < "$plan/pg-toc.dump" > "$plan/pg-list.new" ||
    fail "this pg_restore can't read the dump, which was made by a newer one: install the client of a newer PostgreSQL"
  [ ! -e "$plan/pg-list.new" ] || mv -- "$plan/pg-list.new" "$plan/pg-list"
}

# pg_put copies a file to where the programs for "admin" or "app" run, and writes its path there.
pg_put() {
  local path
  path=$(pg_at "$1" sh -c 'umask 077; f=$(mktemp /tmp/permafrost.XXXXXXXXXX) && cat > "$f" && printf "%s\n" "$f"' < "$2") ||
    fail "no copy of $2 can be written to /tmp${pg_service:+ in the container of $pg_service}: has its disk room?"
  printf '%s %s\n' "$1" "$path" >> "$plan/pg-copies"
  printf '%s\n' "$path"
}

# pg_lend lets the user who runs the programs open the dump anew by /dev/stdin, as each of several jobs does. Nobody gets at it by its
# name: the directory is closed to others. Meanwhile the dump itself says where each table's data are.
pg_lend() {
  local user=$pg_role_user dump=$here/$pg_dump_file
  [ -z "$pg_service" ] && [ "$pg_jobs" -gt 1 ] || return 1
  [ "$pg_hand" != admin ] || user=$pg_admin_user
  if [ "$EUID" = 0 ] && [ -n "$user" ]; then
    chgrp -- "$(id -g -- "$user")" "$dump" && chmod g+r -- "$dump" || return 1
  fi
  ! pg_has_head "$plan/pg-toc.dump" || pg_set_head "$plan/pg-toc-offsets.dump"
  pg_at "$pg_hand" test -r /dev/stdin < "$dump"
}

# pg_has_head says whether the dump begins with a table of contents, and pg_set_head has it begin with another one of the same length.
pg_has_head() { cmp -s -n "$(stat -c %s -- "$1")" -- "$1" "$here/$pg_dump_file"; }
pg_set_head() { dd if="$1" of="$here/$pg_dump_file" bs=1M conv=notrunc status=none; }

# pg_tidy takes the dump back, and removes copies.
pg_tidy() {
  local who path dump=$here/$pg_dump_file
  if [ "$EUID" = 0 ] && [ -n "$(find "$dump" -perm /040 2> /dev/null)" ]; then
    chmod g-r -- "$dump" && chgrp 0 -- "$dump" || true
  fi
  ! pg_has_head "$plan/pg-toc-offsets.dump" || pg_has_head "$plan/pg-toc.dump" || pg_set_head "$plan/pg-toc.dump"
  [ -e "$plan/pg-copies" ] || return 0
  while read -r who path; do
    pg_at "$who" rm -f -- "$path" < /dev/null || true
  done < "$plan/pg-copies"
  rm -f -- "$plan/pg-copies"
}

# pg_login finds the password of Mastodon's role, where the server asks for it.
pg_login() {
  local password
  case $pg_asks in '' | gss) return 0 ;; esac
  if have_permafrost; then
    "$permafrost" restore-step passfile --settings "$pg_settings" > "$plan/pg-passfile"
  else
    pg_type
    password=${pg_typed//\\/\\\\}
    printf '*:*:*:*:%s\n' "${password//:/\\:}" > "$plan/pg-passfile"
  fi
  pg_passfile=$(pg_put app "$plan/pg-passfile")
  rm -f -- "$plan/pg-passfile"
}

# pg_type asks the terminal for the password of Mastodon's role.
pg_type() {
  [ -z "${pg_typed-}" ] || return 0
  { exec 8<>/dev/tty; } 2>/dev/null || fail "the password of Mastodon's role is asked for on a terminal, and there is none: set permafrost in host.sh"
  printf "The database's password, as the settings have it (DB_PASS): " >&8
  IFS= read -rs pg_typed <&8
  printf '\n' >&8
  exec 8>&-
  [ -n "$pg_typed" ] || fail "no password was typed"
}
