"""Tabs of one's own on the main page of Locust's web UI, each with a table."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flask import Response

logger: Final = logging.getLogger("ampswarm")


def add_tab(
    web_ui: Any,  # noqa: ANN401
    key: str,
    title: str,
    columns: Mapping[str, str],
    rows: Callable[[], Sequence[Mapping[str, object]]],
) -> None:
    """Add a tab.

    Args:
        web_ui: Locust's.
        key: of the tab in the page's address.
        title: of the tab.
        columns: their titles, by the keys of the rows: lower case and underscores.
        rows: returns the rows as they are now.
    """
    # The page's own code turns the names of what it gets into camelCase, and not the names that are values.
    structure = [{"key": name, "title": words} for name, words in columns.items()]
    arguments = web_ui.template_args
    web_ui.template_args = {
        **arguments,
        "extended_tabs": [*arguments.get("extended_tabs", ()), {"key": key, "title": title}],
        "extended_tables": [*arguments.get("extended_tables", ()), {"key": key, "structure": structure}],
    }

    @web_ui.app.after_request  # type: ignore[untyped-decorator]
    def add_rows(response: Response) -> Response:
        from flask import request  # noqa: PLC0415  only a master or a single process has it

        # Behind --web-base-path too; and not where a login is asked for.
        if not request.path.endswith("/stats/requests") or response.status_code != 200 or not response.is_json:
            return response
        report = json.loads(response.get_data())
        # Locust keeps its answer for a while, and hands it out again.
        others = [each for each in report.get("extended_stats", ()) if each["key"] != key]
        report["extended_stats"] = [*others, {"key": key, "data": list(rows())}]
        response.set_data(json.dumps(report))
        return response
