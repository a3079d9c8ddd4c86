"""Tests of the search for capacity."""
