r"""The city's power comes back: every charge point boots, all at once or within some seconds.

    locust -f locustfiles/boot_storm.py --host ws://localhost:8080/ocpp --users 1000 --spawn-rate 1000 \\
        --headless --run-time 3m

Everybody is connected by then, loses its power after a minute, and has it back ten seconds later. With
`--storm "at=60s kind=power for=10s over=30s"` the districts follow each other within half a minute. The table at the
end says when they were accepted again, and how often each had to try.
"""

from ampswarm.load import ChargePointUser


class ChargePoint(ChargePointUser):
    """A charge point whose power fails."""

    storms = ("at=60s share=100% kind=power for=10s name=blackout",)
