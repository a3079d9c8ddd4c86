"""A plan for people, and for the shell."""

from __future__ import annotations

from ampswarm.plan.lines import Line, number
from ampswarm.plan.plan import Plan
from ampswarm.plan.question import Question


def to_text(plan: Plan, *, explain: bool = False) -> str:
    """Return the plan as a table.

    Args:
        plan: what was found.
        explain: whether to show the arithmetic behind each number, and the constants in it.
    """
    lines = [_title(plan.question)]
    shown = [line for section in plan.sections.values() for line in section]
    label = max(len(line.label) for line in shown)
    value = max(len(number(line.value)) for line in shown)
    for name, section in plan.sections.items():
        lines += ["", name]
        for line in section:
            lines.append(_row(line, label, value))
            if explain:
                lines.append(f"    = {line.how}")
                if line.constants:
                    lines.append(f"      from: {'; '.join(f'{each.name} ({each.origin})' for each in line.constants)}")
    lines += ["", "For the stack", *(f"  {each}" for each in to_env(plan).splitlines())]
    lines += ["", "Once on each host, by its kind", *(f"  {each}" for each in plan.commands)]
    lines += ["", *(f"does not fit: {each}" for each in plan.warnings), *(f"mind: {each}" for each in plan.notes)]
    return "\n".join(lines)


def to_env(plan: Plan) -> str:
    """Return the values for the stack, `NAME=value` a line."""
    return "\n".join(f"{name}={value}" for name, value in plan.variables.items())


def _title(question: Question) -> str:
    scheme = "wss, which ends at the proxy" if question.tls else "ws"
    parts = [
        f"{number(question.charge_points)} charge points over {scheme}",
        f"a Heartbeat every {question.heartbeat} s",
    ]
    if question.charging:
        parts.append(f"{question.charging * 100:g} % charge, with MeterValues every {question.meter_values} s")
    if question.transactions_per_day:
        parts.append(f"{question.transactions_per_day:g} transactions a day each, store {question.store}")
    return "; ".join(parts)


def _row(line: Line, label: int, value: int) -> str:
    text = f"  {line.label:{label}}  {number(line.value):>{value}} {line.unit:4}"
    return f"{text} {line.note}".rstrip()
