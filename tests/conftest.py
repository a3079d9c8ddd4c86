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


_ORDER = ("e2e", "interop", "docs", "server", "load")
"""Folders whose tests take longest: begun first, so that what is short fills the gaps at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first."""
    order = {name: place for place, name in enumerate(_ORDER)}

    def place(item: pytest.Item) -> int:
        return order.get(item.path.parent.name, len(order))

    items.sort(key=place)
