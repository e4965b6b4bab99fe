# PostgreSQL: functions that several steps share.

# pg_drop removes a database that a step has made, and ends who is connected to it.
pg_drop() {
  local try
  for try in 1 2 3; do
    if pg_ask "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = :'db' and pg_has_role(usesysid, 'member');
      drop database if exists :\"db\";" -v "db=$1" > /dev/null; then return 0; fi
    sleep 1
  done
  return 1
}

# pg_create makes an empty database with the encoding and the locale that the dump's had.
pg_create() {
  local how="encoding :'encoding' lc_collate :'collate' lc_ctype :'ctype'"
  case $pg_provider in
    icu) how+=" locale_provider icu icu_locale :'locale'" ;;
    builtin) how+=" locale_provider builtin builtin_locale :'locale'" ;;
    *) [ "$pg_version" -lt 150000 ] || how+=" locale_provider libc" ;;
  esac
  pg_drop "$1"
  pg_ask "create database :\"db\" template template0 $how owner :\"role\";" -v "db=$1" -v "role=$2" \
    -v "encoding=$pg_encoding" -v "collate=$pg_collate" -v "ctype=$pg_ctype" -v "locale=$pg_locale"
}

# pg_load runs pg_restore on an archive that it reads from standard input. Its own words go to a file.
pg_load() {
  local db=$1 log=$2
  shift 2
  local how=(--no-tablespaces --no-subscriptions)
  [ "$pg_super" = t ] || how+=(--no-owner --no-privileges)
  pg_options=$(pg_set) pg_by pg_restore -v -d "$(pg_conn "$db")" "${how[@]}" "$@" 2> "$log"
}

# pg_set is what is set on the server while objects are made: messages that can be read below, and nothing that somebody else's
# event triggers do. Two jobs leave no processor idle: there parallel workers, which sort for one index, take an eighth more time.
pg_set() {
  [ "$pg_jobs" != 2 ] || printf '%s' '-c max_parallel_maintenance_workers=0 '
  [ "$pg_super" != t ] || printf '%s' '-c lc_messages=C -c session_replication_role=replica'
}

# pg_errors shows the errors in a file with the words of pg_restore.
pg_errors() { grep -E '^pg_restore: (error|from TOC entry)|^(DETAIL|HINT|LINE)' "$1" | cut -c 1-500 | sed 40q >&2 || true; }

# pg_objects writes what objects a list of pg_restore has: a line for each, with its ID, and without the numbers that differ from
# server to server. Data of tables are none, nor are subscriptions. Where there is no superuser, owners are none of it either, nor are grants.
pg_objects() {
  sed -n 's/^\([0-9][0-9]*\); [0-9][0-9]* [0-9][0-9]* /\1; /p' |
    { grep -Ev '^[0-9]+; (TABLE DATA|SEQUENCE SET|SUBSCRIPTION|BLOBS?|BLOB METADATA|STATISTICS DATA|[A-Z ]* - LARGE OBJECTS?) ' || true; } | pg_owners
}

pg_owners() {
  if [ "$pg_super" = t ]; then cat; return; fi
  grep -Ev '^[0-9]+; (ACL|DEFAULT ACL) ' | awk 'NR == FNR { if ($0 != "") owner[$0]; next }
    { best = 0
      for (o in owner) if (length(o) > best && substr($0, length($0) - length(o)) == " " o) best = length(o)
      print substr($0, 1, length($0) - (best ? best + 1 : 0)) }' "$plan/pg-owners" -
}

# pg_compare writes the lines of the dump's list whose objects a database does not have. A materialized view's data are an object.
pg_compare() {
  {
    pg_by pg_dump -Fc --schema-only -d "$(pg_conn "$1")" | pg_at admin "${pg_bin:+$pg_bin/}pg_restore" -l
    pg_who=pg_by pg_options='-c search_path=pg_catalog' pg_sql "$1" <<'SQL'
select '0; 0 0 MATERIALIZED VIEW DATA ' || translate(concat_ws(' ', nspname, relname, rolname), E'\r\n', '  ')
from pg_class c join pg_namespace n on n.oid = relnamespace join pg_roles r on r.oid = relowner where relkind = 'm' and relispopulated;
SQL
  } | pg_objects > "$plan/pg-here"
  pg_objects < "$plan/pg-list" | LC_ALL=C awk '{ object = substr($0, index($0, ";") + 2) }
    FILENAME != "-" { here[object]++; next }
    here[object]-- <= 0 { print }' "$plan/pg-here" -
}

# pg_again runs pg_restore on the objects of a list alone, with another table of contents. Its words go to a file.
pg_again() {
  local list
  list=$(pg_put "$pg_hand" "$2")
  pg_load "$1" "$4" -L "$list" < "$3" || pg_ended "$4"
}

# pg_ended makes sure that pg_restore, which has failed, tried everything.
pg_ended() {
  grep -q '^pg_restore: warning: errors ignored on restore' "$1" || { tail -n 5 -- "$1" >&2; fail "pg_restore ended early"; }
}

# pg_failed passes on those of some objects that pg_restore could not make, by what it said of them in files. An object that
# was tried without an error is there, and so is one that could not be made twice: a server of another version lists it in other words.
pg_failed() {
  local line
  while IFS= read -r line; do
    # The first word is ERROR in the server's language, which only a superuser may change.
    if pg_why "${line%%;*}" "$@" | grep -E '^[^ :]+:  ' | grep -Ev '^(DETAIL|HINT|CONTEXT):| already exists$|multiple primary keys' > /dev/null; then
      printf '%s\n' "$line"
    fi
  done
}

# pg_lost passes on those of some objects, of which a table's rows depend, that are not there at all: one may just have another owner.
pg_lost() {
  local line
  { grep -E '; (TABLE|TABLE ATTACH|SEQUENCE|DEFAULT|SCHEMA) ' || true; } | while IFS= read -r line; do
    case $(pg_why "${line%%;*}" "$@") in *' already exists'*) ;; *) printf '%s\n' "$line" ;; esac
  done
}

# pg_why writes what pg_restore said of an object, by its ID, in the last of some files that has it.
pg_why() {
  local id=$1 why='' said log
  shift
  for log in "$@"; do
    [ -e "$log" ] || continue
    said=$(awk -v "id=$id" '/^pg_restore: / && !/^pg_restore: error: could not execute/ { on = 0 }
      $0 ~ "^pg_restore: from TOC entry " id ";" { on = 1; next }
      on { sub(/^pg_restore: error: could not execute query: /, ""); print }' "$log")
    [ -z "$said" ] || why=$said
  done
  printf '%s\n' "$why"
}

# pg_find finds the restored database by its number: until it is whole it has another name.
pg_find() {
  [ -s "$plan/pg-oid" ] || fail "there is no restored database yet: run the step \"Bring the data back\" first"
  pg_oid=$(cat "$plan/pg-oid")
  pg_db=$(pg_ask "select datname from pg_database where oid = :oid" -v "oid=$pg_oid")
  [ "$pg_db" = "$pg_new" ] || [ "$pg_db" = "$pg_database" ] || fail "the restored database is gone: run the step \"Bring the data back\" again"
}

# pg_count_jobs sets how many things are done at once. Each takes one of the server's connections, of which there may be few.
pg_count_jobs() {
  [ -z "$pg_jobs" ] || return 0
  pg_jobs=$(nproc)
  [ "$pg_jobs" -le 8 ] || pg_jobs=8
}

# pg_fill makes the restored database anew: objects, and then data from the dump, with a table of contents. Several jobs read the
# dump by itself, with its own table of contents.
pg_fill() {
  local list=() data=(--section=data --exit-on-error)
  rm -f -- "$plan/pg-oid"
  pg_create "$pg_new" "$pg_role" || fail "the database $pg_new can't be made"
  pg_load "$pg_new" "$plan/pg-pre.log" --section=pre-data < "$1" || true
  if pg_may_lose; then
    pg_data_list > "$plan/pg-data" || return
    list=(-L "$(pg_put "$pg_hand" "$plan/pg-data")") || return
  fi
  if [ "$1" = "$plan/pg-toc.dump" ] && pg_lend; then
    pg_load "$pg_new" "$plan/pg-data.log" "${data[@]}" "${list[@]}" -j "$pg_jobs" /dev/stdin < "$here/$pg_dump_file"
  else
    pg_stream "$1" | pg_load "$pg_new" "$plan/pg-data.log" "${data[@]}" "${list[@]}"
  fi
}

# pg_stream writes the dump, with a table of contents. A reader that has all it wants may leave.
pg_stream() {
  { cat -- "$1" && tail -c +$(($(stat -c %s -- "$plan/pg-toc.dump") + 1)) -- "$here/$pg_dump_file"; } || [ $? = 141 ]
}

# pg_data_list writes the data of the dump that there is a table or a sequence for.
pg_data_list() {
  pg_compare "$pg_new" | sed -n 's/^[0-9]*; TABLE /TABLE DATA /p; s/^[0-9]*; SEQUENCE /SEQUENCE SET /p' > "$plan/pg-lost"
  sed -n 's/^\([0-9][0-9]*\); [0-9][0-9]* [0-9][0-9]* /\1; /p' "$plan/pg-list" | pg_owners |
    awk 'FILENAME != "-" { lost[$0]; next } !(substr($0, index($0, ";") + 2) in lost)' "$plan/pg-lost" -
}

# pg_mend tries once more to make what is missing, alone: as it is, then with names looked for in all schemas, and a foreign key
# that rows break without a look at these.
pg_mend() {
  local line
  pg_again "$pg_db" "$plan/pg-absent.new" "$plan/pg-toc.dump" "$plan/pg-objects-2.log"
  pg_compare "$pg_db" | pg_failed "$plan/pg-objects-2.log" > "$plan/pg-absent.new"
  while IFS= read -r line; do
    case $line$(pg_why "${line%%;*}" "$plan/pg-objects-2.log") in
      *'could not create unique index'*) ;;
      *'; FK CONSTRAINT '*'violates foreign key constraint'*) pg_not_valid "${line%%;*}" ;;
      *) printf '%s\n' "$line" ;;
    esac
  done < "$plan/pg-absent.new" > "$plan/pg-again"
  [ ! -s "$plan/pg-again" ] || pg_again "$pg_db" "$plan/pg-again" "$plan/pg-toc-path.dump" "$plan/pg-objects-3.log"
  pg_compare "$pg_db" | pg_failed "$plan/pg-objects-2.log" "$plan/pg-objects-3.log" > "$plan/pg-absent.new"
}

# pg_not_valid makes a foreign key that some rows break, so that it holds for new rows.
pg_not_valid() {
  local statement
  printf '%s;\n' "$1" > "$plan/pg-one"
  statement=$(pg_by pg_restore -L "$(pg_put "$pg_hand" "$plan/pg-one")" -f - < "$plan/pg-toc.dump" | sed -n '/^ALTER TABLE /,/;$/p')
  [ -n "$statement" ] || return 0
  # As an argument it is one statement for the server, and nothing in it is a command of psql's.
  if pg_options=$(pg_set) pg_by psql -X -q -d "$(pg_conn "$pg_db")" -c "${statement%;} NOT VALID" < /dev/null >&2; then
    printf 'Rows break this foreign key, so it is made NOT VALID, and holds for new rows:\n%s\n' "$statement" | pg_plain >&2
  fi
}

# pg_tell names objects, and what the server said of each. A statement that may have a password in it is not shown.
pg_tell() {
  local line list=$1
  shift
  while IFS= read -r line; do
    printf '  %s\n' "${line#*; }"
    pg_why "${line%%;*}" "$@" | case $line in
      *'; SERVER '* | *'; USER MAPPING '* | *'; SUBSCRIPTION '* | *'; FOREIGN '*) sed '/^Command was: /,$d' ;;
      *) cat ;;
    esac | cut -c 1-300 | sed -n '/./s/^/      /p' | sed 12q
  done < "$list" | pg_plain
}

# pg_unsound writes those of some objects that keep rows unique.
pg_unsound() {
  local line why
  while IFS= read -r line; do
    why=$(pg_why "${line%%;*}" "$plan"/pg-objects*.log)
    case $line$why in
      *'relation "'*'" does not exist'*) ;; # there is no table that could hold duplicates
      *'could not create unique index'* | *'CREATE UNIQUE INDEX'* | *'PRIMARY KEY'* | *' UNIQUE ('*) printf '%s\n' "$line" ;;
    esac
  done < "$1"
}

# pg_analyze gathers statistics of every table, of several at once.
pg_analyze() {
  local one status=0 all=()
  for ((one = 0; one < pg_jobs; one++)); do
    { cat -- "$plan/pg-path.sql"; pg_analyze_sql; } | pg_who=pg_by pg_sql "$pg_db" -v ON_ERROR_STOP=0 -v "jobs=$pg_jobs" -v "one=$one" &
    all+=($!)
  done
  for one in "${all[@]}"; do wait "$one" || status=$?; done
  return "$status"
}

pg_analyze_sql() {
  cat <<'SQL'
select pg_catalog.format('analyze %I.%I', nspname, relname) from (
  select nspname, relname, row_number() over (order by relpages desc, c.oid) as n from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = relnamespace
  where relkind in ('r', 'p', 'm') and relpersistence <> 't' and nspname <> 'information_schema' and nspname not like 'pg\_%') t
where n % :jobs = :one order by n \gexec
SQL
}

# pg_doubts writes SQL that names what deserves a look: indexes and constraints that do not hold, and sequences that are behind.
pg_doubts() {
  cat <<'SQL'
select 'this index is not valid: ' || indexrelid::regclass from pg_index where not indisvalid;
select 'this constraint was not checked for the rows that are there: ' || conname || ' of ' || conrelid::regclass from pg_constraint where not convalidated;
select 'this materialized view has no data: ' || oid::regclass from pg_class where relkind = 'm' and not relispopulated;
select format('select %L where (select max(%I) from %s) > (select last_value from %s)',
  format('the sequence %s is behind the column %s of %s', d.objid::regclass, a.attname, a.attrelid::regclass), a.attname, a.attrelid::regclass, d.objid::regclass)
from pg_depend d join pg_class c on c.oid = d.objid and c.relkind = 'S' join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where not row_security_active(a.attrelid) and d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i') and (d.deptype = 'i' or exists (select from pg_attrdef f
  join pg_depend u on u.classid = 'pg_attrdef'::regclass and u.objid = f.oid and u.refobjid = c.oid where f.adrelid = a.attrelid and f.adnum = a.attnum))
order by 1 \gexec
SQL
}

# pg_let_in says whether the server lets Mastodon's role into the restored database, with the password in the settings.
pg_let_in() {
  printf 'select 1;\n' | pg_who=pg_app pg_sql "$pg_db" > /dev/null
}

# pg_password gives Mastodon's role the password in the settings, and has it log in.
pg_password() {
  local verifier
  pg_ask 'alter role :"role" login;' -v "role=$pg_role"
  if have_permafrost && verifier=$("$permafrost" restore-step password --settings "$pg_settings"); then
    printf '%s\n' "$verifier" | pg_sql "$pg_main" -v "role=$pg_role"
    return
  fi
  pg_type
  # Without a terminal of its own psql asks standard input, twice.
  printf '%s\n%s\n' "$pg_typed" "$pg_typed" | pg psql -X -q -v "role=$pg_role" -d "$(pg_conn "$pg_main")" -c '\password :"role"' 2> "$plan/pg-said" ||
    { cat -- "$plan/pg-said" >&2; return 1; }
}

# pg_swap renames the databases. Who connects meanwhile waits, and gets the restored one.
pg_swap() {
  local state lock=''
  pg_taken=''
  state=$(pg_ask "select count(*) filter (where datname = :'name') || ' ' || count(*) filter (where datname = :'old') from pg_database" -v "name=$pg_database" -v "old=$pg_old")
  [ "$pg_super" != t ] || lock="set local deadlock_timeout = '10ms'; lock table pg_database in access exclusive mode;"
  case $state in
    '0 '*) pg_ask 'alter database :"new" rename to :"name";' -v "new=$pg_new" -v "name=$pg_database" ;;
    '1 0') pg_ask "begin; set local lock_timeout = '10s'; $lock
select count(pg_terminate_backend(pid)) as ended from pg_stat_activity where datname in (:'name', :'new') and pg_has_role(usesysid, 'member') \\gset
alter database :\"name\" rename to :\"old\"; alter database :\"new\" rename to :\"name\"; commit;" -v "name=$pg_database" -v "new=$pg_new" -v "old=$pg_old" ;;
    *)
      pg_taken=yes
      return 1
      ;;
  esac
}

# pg_swap_back undoes that.
pg_swap_back() {
  local restored=$pg_new
  local pg_new=$pg_old pg_old=$restored
  pg_swap || fail "the databases can't be renamed"
  say "$pg_database is the database again that was there before. The restored one is called $pg_old."
}

# pg_connected lists who is connected to the databases that are to be renamed.
pg_connected() {
  say "These are connected to them:"
  pg_ask "select concat_ws(', ', '  ' || datname, 'user ' || usename, 'program ' || application_name, 'process ' || pid) from pg_stat_activity
    where datname in (:'name', :'new')" -v "name=$pg_database" -v "new=$pg_new" | pg_plain
}
