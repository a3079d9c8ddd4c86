"""Measurements of memory and CPU; never a timed test."""
