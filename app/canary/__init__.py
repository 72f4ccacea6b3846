"""The canary's process: plants drifts in a table of Driftline's own, and hears whether they are told."""
