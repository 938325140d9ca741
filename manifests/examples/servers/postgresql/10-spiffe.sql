-- Lets sessions read and write tables by the SPIFFE ID of their client certificate. Run it once, as a superuser.
create schema spiffe;
create extension sslinfo with schema spiffe;

-- Which workload may use which role.
create table spiffe.allowed (
  id text not null check (id like 'spiffe://%'),
  role name not null,
  primary key (id, role)
);

-- The SPIFFE ID of the verified client certificate of this session, or null. sslinfo gives all names of the certificate as one
-- text, URI:…, DNS:…, in their order. Certificates of kubespiffe have one URI, as their first name.
create function spiffe.id() returns text
language sql stable parallel restricted
set search_path = pg_catalog, pg_temp
as $$
  select case when spiffe.ssl_client_cert_present() then (
    select substring(value from '^URI:([^,]+)')
    from spiffe.ssl_extension_info()
    where name = 'subjectAltName' and value not like '%URI:%URI:%'
  ) end
$$;

-- True if the workload may use the role that it has logged in with, and an error otherwise.
create function spiffe.check_id() returns boolean
language plpgsql stable parallel restricted security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if exists (select from spiffe.allowed where id = spiffe.id() and role = session_user) then
    return true;
  end if;
  raise insufficient_privilege using
    message = format('%s may not use role %s', coalesce(spiffe.id(), 'a client without SPIFFE ID'), session_user),
    hint = 'Add the SPIFFE ID and the role to the table spiffe.allowed.';
end
$$;

grant usage on schema spiffe to public;
