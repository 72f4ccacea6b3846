-- Roles and databases of the shop in MariaDB. Run by root at every start: changes nothing twice.
-- {{...}} are passwords, {{host}} is where the roles may come from; put in by scripts/stack.
CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- Driftline's own tables are made by `driftline init`.
CREATE DATABASE IF NOT EXISTS driftline CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
-- The marker row whose arrival in Kafka proves that a connector streams.
CREATE DATABASE IF NOT EXISTS stack CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS stack.marker (id integer PRIMARY KEY, token varchar(64) NOT NULL) ENGINE = InnoDB;
INSERT IGNORE INTO stack.marker VALUES (1, 'none');

-- Users stay out of the binary log: no reader of it needs their password hashes.
SET SESSION sql_log_bin = 0;
ALTER USER 'root'@'localhost' IDENTIFIED BY '{{root}}';
CREATE USER IF NOT EXISTS 'root'@'{{host}}';
-- The installation makes a root at 127.0.0.1 that has no password.
ALTER USER 'root'@'{{host}}' IDENTIFIED BY '{{root}}';
GRANT ALL PRIVILEGES ON *.* TO 'root'@'{{host}}' WITH GRANT OPTION;
CREATE USER IF NOT EXISTS 'shop_owner'@'{{host}}' IDENTIFIED BY '{{shop_owner}}';
CREATE USER IF NOT EXISTS 'shop_sink'@'{{host}}' IDENTIFIED BY '{{shop_sink}}';
CREATE USER IF NOT EXISTS 'cdc_feed'@'{{host}}' IDENTIFIED BY '{{cdc_feed}}';
CREATE USER IF NOT EXISTS 'cdc_pipeline'@'{{host}}' IDENTIFIED BY '{{cdc_pipeline}}';

GRANT ALL PRIVILEGES ON shop.* TO 'shop_owner'@'{{host}}';
-- The sink makes the tables and columns that it finds missing; TRUNCATE needs DROP.
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX ON shop.* TO 'shop_sink'@'{{host}}';
GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR ON *.*
   TO 'cdc_feed'@'{{host}}', 'cdc_pipeline'@'{{host}}';
GRANT SELECT, LOCK TABLES ON shop.* TO 'cdc_feed'@'{{host}}', 'cdc_pipeline'@'{{host}}';
GRANT SELECT, LOCK TABLES ON stack.* TO 'cdc_feed'@'{{host}}', 'cdc_pipeline'@'{{host}}';
GRANT SELECT, LOCK TABLES ON driftline.* TO 'cdc_feed'@'{{host}}';
