"""Locust's side."""
