"""The conformance table names tests that exist, and leaves out no section of the standard."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "reference" / "conformance.md"


def below(section: str, last: int) -> list[str]:
    """Return the numbers of all parts of a section: 5.1 to 5.19."""
    return [f"{section}.{number}" for number in range(1, last + 1)]


def requirements(use_case: str, numbers: str) -> list[str]:
    return [f"{use_case}.FR.{number}" for number in numbers.split()]


SECTIONS = {
    # Edition 2, from chapter 3, where the rules begin.
    "core": [
        *("3.3", "3.4", "3.5", *below("3.5", 4), "3.6", "3.7", "3.7.1", "3.8", "3.9", "3.10", "3.11", "3.12"),
        *("3.13", *below("3.13", 7), "3.14", "3.15", "3.16", *below("3.16", 5)),
        *(*below("4", 10), "4.2.1"),
        *(*below("5", 19), *below("5.16", 4)),
        *below("6", 56),
        *below("7", 49),
        *("8", "8.1", "8.2"),
        *("9", *below("9.1", 34), *below("9.2", 3), "9.3.1", *below("9.4", 5)),
    ],
    # 2025-04; chapter 2 says "None known".
    "core errata": [*below("3", 91), *below("4", 29)],
    "J": [
        *("1", "2", "3", "3.1", *below("3.1", 3), "3.2", "3.3"),
        *("4.1", *below("4.1", 4), "4.2", *below("4.2", 3)),
        *below("5", 5),
        *("6", "6.1", "6.2", *below("6.2", 4), "7"),
    ],
    "J errata": [*below("2", 6), *below("3", 12), "5.1", "5.2"],
    # Edition 3. Numbers that are not there were withdrawn.
    "whitepaper": [
        *("2.1", "5", "6", "6.1", *below("7", 6), "8"),
        *requirements("A00", "001 002 003 004 005 006 201 202 203 204 205 206"),
        *(f"A00.FR.{number}" for number in range(301, 325)),
        *(f"A00.FR.{number}" for number in range(401, 430)),
        *(f"A00.FR.{number}" for number in range(501, 513)),
        *requirements("A00", "601 602 603 701 702 703 704 706 801 802 803 804 805 806"),
        *requirements("A01", "01 02 03 04 05 06 07 08 09 10 11 12"),
        *requirements("A02", "01 02 03 04 05 06 07 08 09 10 11 12 13"),
        *requirements("A03", "01 02 03 04 05 06 07 08 09 10 11 12 13"),
        *requirements("A04", "01 02 03 04"),
        *requirements("A05", "01 02 03 04 05 06 07 08 09"),
        *requirements("L01", "01 02 03 04 05 06 07 08 09 10 11 12 13 14 15 16 17 18 19 20"),
        *requirements("L01", "21 22 23 24 25 26 27 28 29"),
        *requirements("M03", "01 02 03 04"),
        *requirements("M04", "01 02 03 04 05 06 07"),
        *requirements("M05", "01 02 03 04 06 08 09 10 11 12 13"),
        *requirements("N01", "01 02 03 04 05 07 08 09 10 11 12"),
    ],
}


def rows() -> Iterator[tuple[str, list[str]]]:
    """Return each row of each table with the heading that it stands under."""
    heading = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("|") and not line.startswith(("|---", "| section |")):
            yield heading, [cell.strip() for cell in line.strip("|").split("|")]


def sections(cell: str) -> list[tuple[str, str]]:
    """Read "core 4.2; core errata 3.11, 3.22"."""
    found = []
    for part in cell.split("; "):
        document, _, first = part.partition(", ")[0].rpartition(" ")
        found += [(document, number) for number in [first, *part.split(", ")[1:]]]
    return found


@cache
def found_in(file: str) -> frozenset[str]:
    """Return what pytest finds in a file, without importing it."""
    found = set()
    for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) if name.startswith("test_"):
                found.add(name)
            case ast.ClassDef(name=name, body=body) if name.startswith("Test"):
                methods = [each.name for each in body if isinstance(each, ast.FunctionDef)]
                found |= {f"{name}::{method}" for method in methods if method.startswith("test_")}
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Attribute(attr="TestCase")):
                found.add(name)
    return frozenset(found)


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


NAMED = sorted({test for _, cells in rows() for test in named(cells[-1]) if "::" in test})


@pytest.mark.parametrize("test", NAMED)
def test_every_test_that_is_named_exists(test: str) -> None:
    """A rule whose test was renamed or removed is a rule without a test."""
    file, _, name = test.partition("::")
    assert (ROOT / file).is_file()
    assert name in found_in(file)


def test_every_rule_has_a_test() -> None:
    """What no test holds is a promise; only the last two tables have none, and say why."""
    without = {"Not modelled", "Sections without a rule for a charge point"}
    for heading, cells in rows():
        assert len(cells) == (2 if heading in without else 3), cells
        assert all(cells), cells
        if heading not in without:
            tests = named(cells[2])
            assert cells[2] == ", ".join(f"`{test}`" for test in tests)
            assert tests
            assert len(set(tests)) == len(tests), cells
            assert set(tests) <= set(NAMED)
    assert {heading for heading, _ in rows()} >= without


@pytest.mark.parametrize("document", SECTIONS)
def test_no_section_is_left_out(document: str) -> None:
    """Whoever looks for a section finds a rule, what is missing, or why it says nothing; and no section is invented."""
    found = {number for _, cells in rows() for name, number in sections(cells[0]) if name == document}
    assert len(SECTIONS[document]) == len(set(SECTIONS[document]))
    assert found == set(SECTIONS[document])


def test_no_document_is_invented() -> None:
    """A typing error in the first column would hide a section."""
    assert set(SECTIONS) == {document for _, cells in rows() for document, _ in sections(cells[0])}


def test_no_row_stands_twice() -> None:
    """A rule that stands in two places is mended in one of them."""
    counted = Counter((number, cells[1]) for _, cells in rows() for number in sections(cells[0]))
    assert [row for row, count in counted.items() if count > 1] == []


def test_a_section_without_a_rule_has_none() -> None:
    """What the last table says must not be contradicted above it."""
    last = "Sections without a rule for a charge point"
    without = {each for heading, cells in rows() if heading == last for each in sections(cells[0])}
    others = {each for heading, cells in rows() if heading != last for each in sections(cells[0])}
    assert without & others == set()
    assert len(without) > 10
