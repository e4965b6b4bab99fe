-- What the source server holds, and no server makes again.
create table accounts (id bigint primary key, username text, domain text);
create table users (id bigint primary key, account_id bigint);
create table statuses (id bigint primary key, account_id bigint, text text);
create table schema_migrations (version varchar primary key);
create table "two Things" (id int, other int);
create table plain (id int primary key, note text);
insert into accounts select i, 'user' || i, 'example' || i % 3 from generate_series(1, 500) i;
insert into users select i, i from generate_series(1, 100) i;
insert into statuses select i, 1 + i % 500, 'text ' || i from generate_series(1, 2000) i;
insert into "two Things" values (1, 2), (3, 4);
insert into plain select i, 'note' from generate_series(1, 30) i;
-- Duplicates under unique indexes and a primary key.
create unique index index_accounts_on_username on accounts (username);
alter table "two Things" add constraint "two Key" primary key (id);
update pg_index set indisunique = false, indisready = false, indislive = true where indexrelid in ('index_accounts_on_username'::regclass, '"two Key"'::regclass);
insert into accounts values (1001, 'user7', 'example'); insert into "two Things" values (1, 9);
update pg_index set indisunique = true, indisready = true where indexrelid in ('index_accounts_on_username'::regclass, '"two Key"'::regclass);
-- Rows without the one that they refer to.
alter table statuses add constraint "fk Accounts" foreign key (account_id) references accounts on delete cascade;
alter table users add foreign key (account_id) references accounts;
create table parts (id int, account_id bigint references accounts) partition by list (id);
create table parts_1 partition of parts for values in (1);
insert into parts values (1, 5);
set session_replication_role = replica;
delete from accounts where id = 5;
set session_replication_role = default;
delete from users where account_id = 5;
-- Functions with unqualified names.
create extension unaccent;
create function f_unaccent(text) returns text language sql immutable as 'select unaccent($1)';
create index index_accounts_on_f on accounts (f_unaccent(username));
create index index_accounts_after on accounts (domain);
create function how_many() returns bigint language plpgsql stable as 'begin return (select count(*) from users); end';
create materialized view counted as select how_many() as n;
create unique index on counted (n);
create view after_all as select n from counted;
-- What is made after this by anything but psql fails.
create function noticed() returns event_trigger language plpgsql as $$ begin if current_setting('application_name') not like 'psql%' then raise 'no changes here'; end if; end $$;
create event trigger guard on ddl_command_end execute function noticed();
do $$ declare o record; begin
	for o in select format('alter table %s owner to broken', oid::regclass) as s from pg_class where relkind in ('r', 'p', 'm', 'v') and relnamespace = 'public'::regnamespace and relname <> 'pg_stat_statements'
	loop execute o.s; end loop;
end $$;
