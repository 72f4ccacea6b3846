"""The engine drill: change topics written in Debezium's shape, workers that are killed meanwhile, a judge at the end.

Nothing here imports `app`: the workers are processes, and the judge (`engine_judge`) reads topics.
"""
