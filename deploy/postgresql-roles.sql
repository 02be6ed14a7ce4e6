-- Two roles for PostgreSQL 14 or newer, so that the application's own database user cannot change
-- or remove an audit record. docs/how-to/audit.md says when to run this and what it prevents.
--
--   dwp_owner  owns the tables; `manage.py migrate` runs as it, and nothing else
--   dwp_app    serves: reads and writes, but can only add and read audit records and checkpoints
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
-- Reset the attributes of roles that existed before.
ALTER ROLE dwp_owner NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE dwp_app NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT;
-- A member of a role can become it, so dwp_app is a member of none.
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

-- The owner creates tables in the schema, the application uses them.
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

-- Revoke everything from the application, then grant what it needs.
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, dwp_app;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, dwp_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO dwp_app;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO dwp_app;

-- Audit records and checkpoints can only be added and read.
REVOKE ALL ON hitl_auditrecord, hitl_auditcheckpoint FROM dwp_app;
GRANT SELECT, INSERT ON hitl_auditrecord, hitl_auditcheckpoint TO dwp_app;
-- The heads of chains are updated and never deleted.
REVOKE DELETE ON hitl_auditchain FROM dwp_app;
-- Only the owner records which migrations have run.
REVOKE ALL ON django_migrations FROM dwp_app;
GRANT SELECT ON django_migrations TO dwp_app;

-- Tables of later migrations. After one that adds a table for the audit, run this file again.
ALTER DEFAULT PRIVILEGES FOR ROLE dwp_owner IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO dwp_app;
ALTER DEFAULT PRIVILEGES FOR ROLE dwp_owner IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO dwp_app;

COMMIT;
