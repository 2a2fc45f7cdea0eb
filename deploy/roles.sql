-- Roles and database for a PostgreSQL of yours. Run once, as a superuser, with psql:
--
--   psql --set=ON_ERROR_STOP=1 --set=owner_password=... --set=writer_password=... --file=roles.sql
--
-- effect_ledger_owner    runs `effect-ledger migrate`; owns the schema, writes no entries
-- effect_ledger_writer   rights of the service: appends, cannot edit or delete history
-- effect_ledger_reader   rights for reports and verification
-- effect_ledger_eraser   rights to destroy payloads on request, and nothing else
-- effect_ledger_service  the login the service uses; a member of writer
--
-- What each may do on each table stands in migrations/sql.

create role effect_ledger_owner login password :'owner_password';
create role effect_ledger_writer nologin;
create role effect_ledger_reader nologin;
create role effect_ledger_eraser nologin;
create role effect_ledger_service login password :'writer_password' in role effect_ledger_writer;

-- The first line of an error may quote what was sent, and that may be a person's. The client
-- hears it; the server's log gets neither values nor statements of these two.
alter role effect_ledger_owner set log_min_messages = fatal;
alter role effect_ledger_owner set log_min_error_statement = panic;
alter role effect_ledger_service set log_min_messages = fatal;
alter role effect_ledger_service set log_min_error_statement = panic;
alter role effect_ledger_service set log_parameter_max_length = 0;
alter role effect_ledger_service set log_parameter_max_length_on_error = 0;

create database effect_ledger
    owner effect_ledger_owner
    template template0 encoding 'UTF8' locale 'C.UTF-8';
revoke all on database effect_ledger from public;
grant connect on database effect_ledger
    to effect_ledger_writer, effect_ledger_reader, effect_ledger_eraser;
