"""The pure core: values in, values out. No clock, no IO, no randomness, no framework; import-linter proves it."""
