"""The composition root of the worker: settings in, a running worker out. Concrete adapters are named here alone.

Begin with `run.py`, which runs what `worker.py` puts together; each other module makes one part of it.
"""
