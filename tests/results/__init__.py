"""Tests of `ampswarm.results`."""
