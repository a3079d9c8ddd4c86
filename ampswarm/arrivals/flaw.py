"""What is wrong with a description of arrivals."""

from __future__ import annotations


class InvalidArrivals(ValueError):  # noqa: N818  the sentence reads better
    """Arrivals that cannot be: one clear line with what and where."""
