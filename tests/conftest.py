"""Settings for all tests, and the processes that they start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Importing Locust would patch this whole process; whatever needs Locust for real runs it as one.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"

import pytest
from hypothesis import settings

from tests.processes import CentralSystem

settings.register_profile("ampswarm", deadline=None, print_blob=True)
settings.load_profile("ampswarm")


@pytest.fixture
def central_system(tmp_path: Path) -> Iterator[CentralSystem]:
    """A central system on a free port, with Heartbeats every second."""
    with CentralSystem(tmp_path / "central-system.log", "--boot-interval", "1") as running:
        yield running
