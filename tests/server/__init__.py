"""The central system."""
