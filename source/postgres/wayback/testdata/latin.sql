-- A database that is not in UTF-8. This file is.
set client_encoding = 'UTF8';
create table accounts (id bigint primary key, username text);
create table users (id bigint primary key);
create table statuses (id bigint primary key, "größe" text);
create table schema_migrations (version varchar primary key);
create table "Übersicht" (id int primary key);
create materialized view "alle Größen" as select "größe" from statuses;
create index "nach Größe" on statuses ("größe");
insert into statuses select i, 'Straße ' || i from generate_series(1, 100) i;
insert into "Übersicht" values (1), (2);
create role "Prüfer"; grant select on statuses to "Prüfer"; alter table "Übersicht" owner to latin; alter table users owner to "Prüfer";
alter table accounts owner to latin; alter table statuses owner to latin;
comment on database latin is 'Größe'; alter database latin set work_mem = '9MB';
