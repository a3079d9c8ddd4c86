"""Tests of what is planned for a fleet."""
