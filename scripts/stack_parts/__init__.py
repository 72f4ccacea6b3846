"""The local stack as plain processes: standard library only, so that it runs before any virtual environment exists."""
