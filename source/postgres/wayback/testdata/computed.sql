-- Rows that a function computes whose body has names without a schema.
create schema ext; create extension unaccent schema ext;
alter database computed set search_path = public, ext;
set search_path = public, ext;
create function f_unaccent(text) returns text language plpgsql immutable as 'begin return unaccent($1); end';
create table accounts (id bigint primary key, username text check (f_unaccent(username) <> ''), plain text generated always as (f_unaccent(username)) stored);
create table users (id bigint primary key);
create table statuses (id bigint primary key);
create table schema_migrations (version varchar primary key);
insert into accounts (id, username) select i, 'é' || i from generate_series(1, 300) i;
alter function f_unaccent(text) owner to computed; alter table accounts owner to computed; alter table users owner to computed; alter table statuses owner to computed; alter table schema_migrations owner to computed; grant usage on schema ext to computed;
