"""What kinds of stores there are, and how their connectors write to Kafka."""

from __future__ import annotations

from enum import Enum


class StoreKind(Enum):
    """A kind of data store that is captured."""

    POSTGRES = "postgres"
    MARIADB = "mariadb"
    MYSQL = "mysql"
    MONGODB = "mongodb"


class Converter(Enum):
    """How a store's source connector writes keys and values."""

    JSON = "json"  # JsonConverter without schemas
    JSON_SCHEMA = "json_schema"  # JsonConverter with `schemas.enable`: each record carries its schema
    AVRO = "avro"  # Confluent wire format, schemas in a registry
