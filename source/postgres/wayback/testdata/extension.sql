-- Extensions: one with an index over it, and one with a table that has a column of its type.
create extension pg_trgm;
create extension hstore;
create table accounts (id bigserial primary key, username text);
create table users (id bigint primary key);
create table statuses (id bigint primary key, text text);
create table schema_migrations (version varchar primary key);
create index index_statuses_on_text on statuses using gin (text gin_trgm_ops);
create table tagged (id bigserial primary key, tags hstore);
create table kept (id bigserial primary key);
insert into accounts (username) select 'user' || i from generate_series(1, 50) i;
insert into statuses select i, 'text ' || i from generate_series(1, 500) i;
insert into tagged (tags) select 'a=>1' from generate_series(1, 20) i;
insert into kept select from generate_series(1, 10);
alter table accounts owner to extended; alter table statuses owner to extended; alter table tagged owner to extended; alter table kept owner to extended; alter table users owner to extended; alter table schema_migrations owner to extended;
