"""The contenders of the same hop: a program each, started by `app.bench.contest`.

| program | what it is |
|---|---|
| `engine.py` | this project's engine: `BlockConsumer` and `BulkTable` with a small agent |
| `plain_faust.py` | a Faust agent with a table, as Faust's documentation has it |
| `quix_streams.py` | Quix Streams, tuned; in an environment of its own (`quix_streams.txt`), since its versions clash |
| `kafka_streams/` | Kafka Streams, tuned; Java, built by Maven |
| `bare_librdkafka.py` | a loop over librdkafka with batches into RocksDB and no framework: the ceiling |

All do the same: decode a Debezium event, digest five columns by XXH3-128, keep per key the digest of the highest LSN in
RocksDB, and send each new one to a changelog. What they share is `work.py`: the arguments, what is computed, and the
words by which the clock is started and stopped.
"""
