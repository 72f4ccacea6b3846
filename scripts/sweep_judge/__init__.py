"""The judge of the sweep drill: what was read again, how fast, what was found, and what it cost the application.

It imports nothing of `app`. What it knows of the product is the shipped Avro schema of findings, and what Debezium
writes into the records of rows that are read again.

| file | question |
|---|---|
| `tables.py` | in which rows do the two tables differ? |
| `rereads.py` | which rows were read again, in which passes, and how fast? |
| `told.py` | which rows were told, as what? |
| `latency.py` | by how much did the application's transactions take longer, and how sure is that? |
| `judge.py` | what of this is not as it must be? |
"""
