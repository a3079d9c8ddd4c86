"""The tab *Fleet* of Locust's web UI, and what it shows as files.

| request, below `--web-base-path` | |
|---|---|
| `GET ampswarm/fleet.json` | the rows of the tab, `generators` and `total`, and the `history` of the total |
| `GET ampswarm/fleet.csv` | the rows of the tab |
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from ampswarm.load.web_pages import pages
from ampswarm.load.web_tabs import add_tab

if TYPE_CHECKING:
    from flask import Response

    from ampswarm.load.fleet_census import FleetCensus
    from ampswarm.load.generator_health import GeneratorHealth

COLUMNS: Final = {
    "generator": "Generator",
    "charge_points": "Charge points",
    "offline": "Offline, waiting",
    "connecting": "Connecting",
    "booting": "Waiting for boot",
    "online": "Online",
    "charging": "Charging",
    "faulted": "Faulted",
    "off": "Without power",
    "connected_per_second": "Connects/s",
    "reconnected_per_second": "Reconnects/s",
    "refused_per_second": "Refusals/s",
    "outstanding": "Calls outstanding",
    "outbox": "In outboxes",
    "commands": "Commands received",
    "loop_lag_p99_ms": "Loop lag p99 (ms)",
    "state": "State",
}
"""Of the tab; what each means: docs/reference/fleet-tab.md."""


_OF_HEALTH: Final = ("loop_lag_p99_ms", "cpu_percent", "state")


def fleet_rows(census: FleetCensus, health: GeneratorHealth) -> list[dict[str, Any]]:
    """Return a row for each process, and one for all: its charge points, and how it is itself."""
    known = {each["generator"]: each for each in health.table()}
    rows = [
        {**row, **{name: known.get(row["generator"], {}).get(name, "") for name in _OF_HEALTH}}
        for row in census.table()
    ]
    if len(rows) > 1:
        *processes, total = rows
        total |= health.highest()
        sound = sum(each["state"] == "valid" for each in processes)
        total["state"] = "valid" if sound == len(processes) else f"{sound} of {len(processes)} valid"
    return rows


def add_fleet_page(web_ui: Any, census: FleetCensus, health: GeneratorHealth) -> None:  # noqa: ANN401  Locust's
    """Add the tab, and its files."""
    from flask import Response, jsonify  # noqa: PLC0415  only a process with a UI has it

    def rows() -> list[dict[str, Any]]:
        return [{name: row[name] for name in COLUMNS} for row in fleet_rows(census, health)]

    routes = pages(web_ui, "fleet")

    @routes.get("/fleet.json")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def as_json() -> Response:
        return jsonify(census.section())

    @routes.get("/fleet.csv")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def as_csv() -> Response:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(COLUMNS))
        writer.writerow(COLUMNS)
        writer.writerows(rows())
        headers = {"Content-Disposition": "attachment; filename=fleet.csv"}
        return Response(text.getvalue(), mimetype="text/csv", headers=headers)

    web_ui.app.register_blueprint(routes)
    add_tab(web_ui, "fleet", "Fleet", COLUMNS, rows)
