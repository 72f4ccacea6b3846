-- The shop's tables in MariaDB, made by hand as an operator would for a copy; changes nothing twice.
CREATE TABLE IF NOT EXISTS customers (
  id bigint PRIMARY KEY, email varchar(120) NOT NULL, name text NOT NULL, city text, vip tinyint(1) NOT NULL,
  created_at datetime(6) NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS products (
  id int PRIMARY KEY, sku varchar(40) NOT NULL, title text NOT NULL, price decimal(12,2) NOT NULL)
  ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS orders (
  id bigint PRIMARY KEY, customer_id bigint NOT NULL, status varchar(20) NOT NULL, amount decimal(12,2) NOT NULL,
  quantity int NOT NULL, note text, placed_at timestamp(6) NULL DEFAULT NULL, updated_at datetime(6) NOT NULL)
  ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS documents (
  id bigint PRIMARY KEY, title text NOT NULL, body longtext, revision int NOT NULL)
  ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS ledger_entries (
  id bigint PRIMARY KEY, account text NOT NULL, amount decimal(14,2) NOT NULL, booked_at datetime(6) NOT NULL)
  ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
