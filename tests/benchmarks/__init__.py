"""Tests of what the measurements count."""
