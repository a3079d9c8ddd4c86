"""The tables of the store, version by version."""
