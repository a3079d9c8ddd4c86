"""A verdict as JUnit XML, which every pipeline can show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

from ampswarm.results.report import Report, Status

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> bytes:
    """Return a test suite: a case for each SLO, and one for whether the numbers can be trusted.

    And one for what the scenario itself found out, where it is of such a kind. A missed SLO is a failure; one without a
    sample, and a run that is invalid, an error.
    """
    run, verdict = report.data["run"], report.data["verdict"]
    suite = ET.Element(
        "testsuite",
        name=_safe(f"ampswarm {run['scenario']}"),
        timestamp=run["began"][:19],
        time=f"{run['seconds']:.3f}",
    )
    validity = _case(suite, "the generator's numbers can be trusted")
    if verdict["invalid"]:
        ET.SubElement(validity, "error", message=_safe(verdict["invalid"][0])).text = _safe(
            "\n".join(verdict["invalid"])
        )
    if verdict.get("found"):
        _add_finding(_case(suite, "what the scenario found"), verdict["found"])
    for each in verdict["slos"]:
        case = _case(suite, each["slo"])
        if each["outcome"] == "held":
            ET.SubElement(case, "system-out").text = _safe(each["text"])
        else:
            kind = "failure" if each["outcome"] == "missed" else "error"
            ET.SubElement(case, kind, message=_safe(each["text"]))
    for attribute, name in (("tests", "testcase"), ("failures", "testcase/failure"), ("errors", "testcase/error")):
        suite.set(attribute, f"{len(suite.findall(name))}")
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    text: bytes = ET.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text


def _add_finding(case: ET.Element, found: Mapping[str, str]) -> None:
    if found["status"] in (Status.PASSED, Status.NONE):
        ET.SubElement(case, "system-out").text = _safe(found["text"])
    else:
        kind = "failure" if found["status"] == Status.MISSED else "error"
        ET.SubElement(case, kind, message=_safe(found["text"]))


def _case(suite: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname="ampswarm", name=_safe(name))


def _safe(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
