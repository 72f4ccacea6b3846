-- Roles, database and publications of the shop in PostgreSQL. Run by the superuser at every start: changes nothing twice.
-- {{...}} are passwords, put in by scripts/stack.
\set ON_ERROR_STOP on
SELECT format('CREATE ROLE %I LOGIN', r)
  FROM unnest(ARRAY['shop_owner', 'shop_sink', 'cdc_feed', 'cdc_pipeline']) AS r
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) \gexec
ALTER ROLE shop_owner   PASSWORD '{{shop_owner}}';
ALTER ROLE shop_sink    PASSWORD '{{shop_sink}}';
ALTER ROLE cdc_feed     REPLICATION PASSWORD '{{cdc_feed}}';
ALTER ROLE cdc_pipeline REPLICATION PASSWORD '{{cdc_pipeline}}';
SELECT 'CREATE DATABASE shop OWNER shop_owner' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'shop') \gexec
REVOKE ALL ON DATABASE shop FROM PUBLIC;
GRANT CONNECT ON DATABASE shop TO shop_sink, cdc_feed, cdc_pipeline;

\connect shop
ALTER SCHEMA public OWNER TO shop_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- The sink makes the tables that it finds missing.
GRANT USAGE, CREATE ON SCHEMA public TO shop_sink;
GRANT USAGE ON SCHEMA public TO cdc_feed, cdc_pipeline;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA public GRANT SELECT ON TABLES TO cdc_feed, cdc_pipeline;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLES TO shop_sink;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA public GRANT USAGE ON SEQUENCES TO shop_sink;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_sink IN SCHEMA public GRANT SELECT ON TABLES TO cdc_feed, cdc_pipeline;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_sink IN SCHEMA public GRANT ALL ON TABLES TO shop_owner;

-- Driftline's own tables are made by `driftline init`; the schema stands before so that the publication can name it.
CREATE SCHEMA IF NOT EXISTS driftline;
GRANT USAGE ON SCHEMA driftline TO cdc_feed;
ALTER DEFAULT PRIVILEGES IN SCHEMA driftline GRANT SELECT ON TABLES TO cdc_feed;

-- The marker row whose arrival in Kafka proves that a connector streams.
CREATE SCHEMA IF NOT EXISTS stack;
GRANT USAGE ON SCHEMA stack TO cdc_feed, cdc_pipeline;
CREATE TABLE IF NOT EXISTS stack.marker (id integer PRIMARY KEY, token text NOT NULL);
GRANT SELECT ON stack.marker TO cdc_feed, cdc_pipeline;
INSERT INTO stack.marker VALUES (1, 'none') ON CONFLICT DO NOTHING;

-- Whole schemas, so that a table made later is never forgotten.
SELECT 'CREATE PUBLICATION driftline_feed FOR TABLES IN SCHEMA public, driftline, stack'
 WHERE NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'driftline_feed') \gexec
SELECT 'CREATE PUBLICATION pipeline FOR TABLES IN SCHEMA public, stack'
 WHERE NOT EXISTS (SELECT FROM pg_publication WHERE pubname = 'pipeline') \gexec
