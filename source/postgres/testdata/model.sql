-- A database that looks a little like Mastodon's.
create extension pg_trgm;
create table statuses (id bigserial primary key, account_id bigint, text text not null);
create table accounts (id bigserial primary key, username text unique);
alter table statuses add foreign key (account_id) references accounts;
create index on statuses using gin (text gin_trgm_ops);
create function f() returns trigger language plpgsql as $$ begin return new; end $$;
create trigger g before insert on accounts for each row execute function f();
create materialized view counts as select count(*) from statuses;
create table schema_migrations (version varchar primary key);
insert into schema_migrations values ('20230101000000'), ('20240611000000');
insert into accounts (username) select 'user' || i from generate_series(1, 100) i;
insert into statuses (account_id, text) select 1 + i % 100, 'status ' || md5(i::text) from generate_series(1, 5000) i;
analyze;
