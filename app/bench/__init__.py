"""`driftline bench`: what a change costs, measured on a real broker and a real worker, and beside the peers.

| part | what is measured | in |
|---|---|---|
| whole path | raw changes of two stores to verdicts; what was planted must be found | `whole_path.py` |
| same hop | decode, digest, state, changelog: the engine beside the peers | `contest.py`, `contenders/` |

The traffic: `load.py` says what changes, `columns.py` and `envelopes.py` put it into Debezium's bytes, `store_log.py`
into the order of a log, `writing.py` into Kafka. All of it is seeded, and written before a clock starts.
"""
