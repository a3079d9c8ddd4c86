"""Arrivals that do not wait for the target, as pure values: elapsed time in, what to do out. Needs no Locust.

`count(elapsed)` says how many have come, `at(index)` and `next(after)` when one comes, `rate(elapsed)` how fast.
"""

from ampswarm.arrivals.curve import Curve, Segment
from ampswarm.arrivals.dial import Dial
from ampswarm.arrivals.flaw import InvalidArrivals
from ampswarm.arrivals.pace import Arrivals, Even, Poisson, Replay, Sequence
from ampswarm.arrivals.text import parse

__all__ = ["Arrivals", "Curve", "Dial", "Even", "InvalidArrivals", "Poisson", "Replay", "Segment", "Sequence", "parse"]
