-- Two roles for PostgreSQL 14 or newer, so that the application's own database user cannot change
-- or remove an audit record. docs/how-to/audit.md says when to run this and what it is worth.
--
--   dwp_owner  owns the tables; `manage.py migrate` runs as it, and nothing else
--   dwp_app    serves: reads and writes, but of audit records and checkpoints it only adds and reads
--
-- Run it as a superuser (or as the database's owner with CREATEROLE), connected to the
-- application's database, after every migration. It may be run again at any time.
--
-- Passwords are not set here: \password dwp_owner and \password dwp_app in psql, once.

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dwp_owner') THEN
        CREATE ROLE dwp_owner LOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dwp_app') THEN
        CREATE ROLE dwp_app LOGIN;
    END IF;
END $$;
-- Whatever they were before.
ALTER ROLE dwp_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE dwp_app NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT;
-- Who is a member of a role can become it.
DO $$
DECLARE granted record;
BEGIN
    FOR granted IN
        SELECT role.rolname AS name FROM pg_auth_members AS membership
        JOIN pg_roles AS role ON role.oid = membership.roleid
        JOIN pg_roles AS member ON member.oid = membership.member
        WHERE member.rolname = 'dwp_app'
    LOOP
        EXECUTE format('REVOKE %I FROM dwp_app', granted.name);
    END LOOP;
END $$;

-- The schema: the owner makes tables, the application uses them.
ALTER SCHEMA public OWNER TO dwp_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM dwp_app;
GRANT USAGE ON SCHEMA public TO dwp_app;

-- Everything that exists belongs to the owner. Sequences go with the columns they belong to.
DO $$
DECLARE found record;
BEGIN
    FOR found IN
        SELECT class.oid::regclass AS name FROM pg_class AS class
        WHERE class.relnamespace = 'public'::regnamespace AND class.relkind IN ('r', 'p', 'v', 'm')
    LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO dwp_owner', found.name);
    END LOOP;
    FOR found IN
        SELECT class.oid::regclass AS name FROM pg_class AS class
        WHERE class.relnamespace = 'public'::regnamespace AND class.relkind = 'S'
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE objid = class.oid AND deptype IN ('a', 'i')
            AND classid = 'pg_class'::regclass
        )
    LOOP
        EXECUTE format('ALTER SEQUENCE %s OWNER TO dwp_owner', found.name);
    END LOOP;
    FOR found IN
        SELECT routine.oid::regprocedure AS name FROM pg_proc AS routine
        WHERE routine.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE objid = routine.oid AND deptype = 'e'
        )
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO dwp_owner', found.name);
    END LOOP;
END $$;

-- What the application may do, from nothing up.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, dwp_app;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, dwp_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO dwp_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO dwp_app;

-- Audit records and checkpoints are added and read. That is all.
REVOKE ALL ON hitl_auditrecord, hitl_auditcheckpoint FROM dwp_app;
GRANT SELECT, INSERT ON hitl_auditrecord, hitl_auditcheckpoint TO dwp_app;
-- The heads move on; none goes away.
REVOKE DELETE ON hitl_auditchain FROM dwp_app;
-- Which migrations have run is the owner's to say.
REVOKE ALL ON django_migrations FROM dwp_app;
GRANT SELECT ON django_migrations TO dwp_app;

-- Tables of later migrations. One that holds audit records needs this file again.
ALTER DEFAULT PRIVILEGES FOR ROLE dwp_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO dwp_app;
ALTER DEFAULT PRIVILEGES FOR ROLE dwp_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO dwp_app;

COMMIT;
