"""Tests: they mirror the packages, plus interop, e2e and fakes."""
