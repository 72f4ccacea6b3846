"""The sweep drill: a table of a million rows in both stores is read again, with damages in it that no log told of.

Connectors, worker and conductor are the product's, on real servers; who fills tables, damages rows, writes as an
application and judges is the drill. The judge (`sweep_judge`) is a package of its own and knows nothing of `app`.

| file | question |
|---|---|
| `deployment.py` | which table, contract and settings are there, and how are servers and processes started? |
| `damages.py` | which rows are damaged how, and how is it kept out of the log? |
| `application.py` | what does an application write meanwhile, and how long does it wait? |
| `pairs.py` | when is the sweep on, and when is it off? |
| `drill.py` | what may be asked for, in which order does it happen, and what is said in the end? |
"""
