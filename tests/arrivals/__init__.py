"""Tests of arrivals."""
