"""How much a target holds: the search itself, its evidence, its plot. Needs no Locust."""
