"""What a run came to: sums, goals, and the tables of the documentation, from results and nothing else."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from registry import NAMES, proof
from runner import Result
from units import Goal, Size

BEGIN: Final = "<!-- figures: python tests/proof report -->"
END: Final = "<!-- end of the figures -->"


def sums(results: Sequence[Result], name: str) -> Counter[str]:
    """Return the counts of a proof, added up over its units."""
    counts: Counter[str] = Counter()
    for result in results:
        if result.proof == name:
            counts.update(result.counts)
    return counts


def shortfalls(results: Sequence[Result], names: Sequence[str], size: Size, *, may_skip: bool) -> list[str]:
    """Return a line for each goal that wasn't reached, and for each proof that nothing was run of."""
    lines = []
    for name in names:
        ran = [result for result in results if result.proof == name]
        if not ran:
            lines.append(f"NOTHING RUN  {name}")
        elif all(result.skipped for result in ran):
            lines += [] if may_skip else [f"SKIPPED  {name}: {ran[0].skipped}"]
        else:
            counts = sums(results, name)
            for goal in proof(name).GOALS:
                least = goal.least(size)
                if least is not None and counts[goal.count] < least:
                    lines.append(f"SHORT  {name}: {goal.says}: {counts[goal.count]:,} of {least:,}")
    return lines


def summary(results: Sequence[Result], names: Sequence[str], size: Size) -> str:
    """Return a line for each goal."""
    lines = [""]
    for name in names:
        ran = [result for result in results if result.proof == name]
        seconds = sum(result.core_s for result in ran)
        skipped = sorted({result.skipped for result in ran if result.skipped})
        failed = sum(1 for result in ran if result.failures)
        counts = sums(results, name)
        for goal in proof(name).GOALS:
            least = goal.least(size)
            wanted = "" if least is None else f" of {least:,}"
            lines.append(f"{name:12} {goal.says:52} {counts[goal.count]:>11,}{wanted}")
        shown = {goal.count for goal in proof(name).GOALS}
        rest = ", ".join(f"{count} {number:,}" for count, number in sorted(counts.items()) if count not in shown)
        ends = [f"{seconds:.0f} s of one core"] if ran else ["not run"]
        ends += [f"FAILED units: {failed}"] if failed else []
        ends += [f"skipped: {reason}" for reason in skipped]
        lines.append(f"{'':12} {'; '.join(([rest] if rest else []) + ends)}")
    return "\n".join(lines)


def write_report(results: Sequence[Result], page: Path | None) -> int:
    """Print the tables, or put them between the marks of a page; return 1 if a result in them is a failure."""
    text = tables(results)
    if page is None:
        print(text)  # noqa: T201
    else:
        before, _, rest = page.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            raise SystemExit(f"{page} has no line {BEGIN!r} followed by {END!r}")
        page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
    return 1 if any(result.failures for result in results) else 0


def tables(results: Sequence[Result]) -> str:
    """Return a table of goals and figures, one of what else was counted, and which code and machine they are of."""
    ran_sizes = [size for size in ("ci", "full") if any(result.size == size for result in results)]
    by_size = {size: [result for result in results if result.size == size] for size in ran_sizes}
    lines = ["| proof | what | " + " | ".join(f"{size} run | goal" for size in ran_sizes) + " |"]
    lines.append("|---|---|" + "---|---|" * len(ran_sizes))
    for name in NAMES:
        for goal in proof(name).GOALS:
            cells = [cell for size in ran_sizes for cell in _cells(by_size[size], name, goal, size)]
            lines.append(f"| `{name}` | {goal.says} | " + " | ".join(cells) + " |")
    lines += ["", "What else was counted:", "", "| proof | " + " | ".join(ran_sizes) + " |"]
    lines.append("|---|" + "---|" * len(ran_sizes))
    for name in NAMES:
        shown = {goal.count for goal in proof(name).GOALS}
        cells = [_rest(by_size[size], name, shown) for size in ran_sizes]
        if any(cells):
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines.append("")
    for size in ran_sizes:
        ran = by_size[size]
        failed = sum(1 for result in ran if result.failures)
        versions = ", ".join(sorted({result.version for result in ran}))
        seeds = ", ".join(str(seed) for seed in sorted({result.seed for result in ran}))
        seconds = sum(result.core_s for result in ran)
        lines.append(
            f"The {size} run: {len(ran):,} units, {failed} failed, {seconds / 3600:.1f} hours of one core, "
            f"seed {seeds}, code `{versions}`, Python {platform.python_version()}, {os.cpu_count()} cores, "
            f"Linux {platform.release()}."
        )
    return "\n".join(lines) + "\n"


def _cells(results: Sequence[Result], name: str, goal: Goal, size: Size) -> tuple[str, str]:
    ran = [result for result in results if result.proof == name]
    least = goal.least(size)
    wanted = "" if least is None else f"{least:,}"
    if not ran:
        return "not run", wanted
    if all(result.skipped for result in ran):
        return "skipped", wanted
    return f"{sums(results, name)[goal.count]:,}", wanted


def _rest(results: Sequence[Result], name: str, shown: set[str]) -> str:
    counts = sums(results, name)
    return ", ".join(f"{count} {number:,}" for count, number in sorted(counts.items()) if count not in shown)
