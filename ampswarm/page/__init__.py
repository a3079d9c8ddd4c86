"""What pages of the load side are made of: styles, scripts, and the library that draws their charts."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def asset(name: str) -> bytes:
    """Return a file of a page; `chart.js` is Chart.js, as the package chartkick has it."""
    if name == "chart.js":
        # Without importing chartkick's part for Django, which needs Django.
        return files("chartkick").joinpath("django/static/chartkick/Chart.bundle.js").read_bytes()
    return files("ampswarm.page").joinpath(name).read_bytes()
