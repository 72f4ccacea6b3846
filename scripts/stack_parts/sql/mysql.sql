-- Roles and databases of the shop in MySQL 8 (docker-compose.yml, profile mysql). {{...}} are put in by scripts/stack.
CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE DATABASE IF NOT EXISTS driftline CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE DATABASE IF NOT EXISTS stack CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE TABLE IF NOT EXISTS stack.marker (id integer PRIMARY KEY, token varchar(64) NOT NULL) ENGINE = InnoDB;
INSERT IGNORE INTO stack.marker VALUES (1, 'none');

SET SESSION sql_log_bin = 0;
CREATE USER IF NOT EXISTS 'shop_owner'@'{{host}}' IDENTIFIED BY '{{shop_owner}}';
CREATE USER IF NOT EXISTS 'cdc_feed'@'{{host}}' IDENTIFIED BY '{{cdc_feed}}';
GRANT ALL PRIVILEGES ON shop.* TO 'shop_owner'@'{{host}}';
GRANT RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'cdc_feed'@'{{host}}';
GRANT SELECT, LOCK TABLES ON shop.* TO 'cdc_feed'@'{{host}}';
GRANT SELECT, LOCK TABLES ON stack.* TO 'cdc_feed'@'{{host}}';
GRANT SELECT, LOCK TABLES ON driftline.* TO 'cdc_feed'@'{{host}}';
