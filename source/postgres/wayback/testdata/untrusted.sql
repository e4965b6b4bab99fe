-- An extension that only a superuser may make, and a table with a column of its type.
create extension pg_stat_statements;
create table accounts (id bigserial primary key, username text);
create table users (id bigint primary key);
create table statuses (id bigint primary key, text text);
create table schema_migrations (version varchar primary key);
create table slow (id bigserial primary key, was pg_stat_statements);
insert into accounts (username) select 'user' || i from generate_series(1, 50) i;
insert into slow select from generate_series(1, 3);
alter table accounts owner to untrusted; alter table users owner to untrusted; alter table statuses owner to untrusted; alter table schema_migrations owner to untrusted; alter table slow owner to untrusted;
