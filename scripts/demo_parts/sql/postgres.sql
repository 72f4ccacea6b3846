-- The shop's tables in PostgreSQL; run by their owner, changes nothing twice.
CREATE TABLE IF NOT EXISTS customers (
  id bigint PRIMARY KEY, email varchar(120) NOT NULL, name text NOT NULL, city text, vip boolean NOT NULL,
  created_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS products (
  id int PRIMARY KEY, sku varchar(40) NOT NULL, title text NOT NULL, price numeric(12,2) NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
  id bigint PRIMARY KEY, customer_id bigint NOT NULL, status varchar(20) NOT NULL, amount numeric(12,2) NOT NULL,
  quantity int NOT NULL, note text, placed_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE IF NOT EXISTS documents (
  id bigint PRIMARY KEY, title text NOT NULL, body text, revision int NOT NULL);
CREATE TABLE IF NOT EXISTS ledger_entries (
  id bigint PRIMARY KEY, account text NOT NULL, amount numeric(14,2) NOT NULL, booked_at timestamptz NOT NULL);
-- Long bodies lie out of line and uncompressed, so that an update of another column leaves them out of the log.
ALTER TABLE documents ALTER COLUMN body SET STORAGE EXTERNAL;
