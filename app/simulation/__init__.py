"""`driftline simulate`: the product's own core in seeded worlds that misbehave, held against exact truth.

Nothing here is a model of Driftline: the fold is the worker's, beacons are decided by the writer's own rule, and
repairs are planned and applied by the planner and the applier themselves. What is simulated is the world around them.

| part | what it does | in |
|---|---|---|
| swarm | which faults, how many keys, which windows: all drawn from the seed | `faults.py`, `setting.py` |
| stores | rows, and the log of what was committed | `stores.py` |
| writers | who writes into stores, and when | `application.py`, `pipeline.py`, `damages.py`, `beacons.py` |
| streams | connectors, Kafka's partitions, ingest, the worker | `connector.py`, `ingest.py`, `worker.py` |
| repairs | planner and applier, killed at any step | `planning.py`, `repairs.py` |
| truth | what really was, by exact time, and what should have been told | `oracle.py`, `verdicts.py` |
| runs | one world, many seeds, and the smallest story of one that failed | `world.py`, `run.py`, `shrink.py` |

A world is a function of its seed, its size and its faults, and of nothing else.
"""
