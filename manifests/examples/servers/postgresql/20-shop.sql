-- A table that the workload spiffe://example.org/ns/shop/sa/web may use. Replace this with your schema.
create role web login;
insert into spiffe.allowed values ('spiffe://example.org/ns/shop/sa/web', 'web');

create table orders (id bigint generated always as identity, item text not null);
insert into orders (item) values ('book');
grant select, insert, update, delete on orders to web;

-- Each table that the role may use needs these two. A role with a grant on a table without them has no SPIFFE ID checked.
alter table orders enable row level security;
create policy spiffe on orders to web using ((select spiffe.check_id()));
