"""The documentation, and what it shows."""
