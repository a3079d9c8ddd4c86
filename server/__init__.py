"""The central system: default target of every load test, emulator, and witness from the other side."""
