"""`scripts/bench`: a Kafka for `driftline bench`."""
