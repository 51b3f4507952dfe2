"""`python -m bench`: run the benchmarks, show the table, and keep it as Markdown and JSON if asked to."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.facts import gather
from bench.model import OURS, Record, Scenario
from bench.report import as_json, summarise
from bench.runner import run_scenario
from bench.scenarios import SCENARIOS
from bench.table import number, page


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; a wrong one ends here with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Procession beside its peers.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"default: all of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=_positive, help="rounds of every scenario (default: 5; with --quick 1)")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, to see that it runs; the figures mean nothing"
    )
    parser.add_argument("--only", action="append", metavar="SUBJECT", help="measure only this subject; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values here")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables here, as Markdown")
    parsed = parser.parse_args(arguments)
    known = {subject for scenario in SCENARIOS.values() for subject in scenario.subjects}
    for name in parsed.scenarios:
        if name not in SCENARIOS:
            parser.error(f"no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    for name in parsed.only or ():
        if name not in known:
            parser.error(f"no subject {name!r}; there are: {', '.join(sorted(known))}")
    return parsed


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"a positive number is needed, not {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 when a measurement of Procession failed (a missing peer is only reported)."""
    options = parse(arguments)
    chosen = [SCENARIOS[name] for name in options.scenarios or SCENARIOS]
    rounds: int = options.rounds or (1 if options.quick else 5)
    facts = gather()
    records: list[Record] = []
    for scenario in chosen:
        subjects = [name for name in scenario.subjects if not options.only or name in options.only]
        for record in run_scenario(scenario, subjects, rounds, options.quick) if subjects else ():
            print(progress_line(scenario, record, rounds), file=sys.stderr, flush=True)
            records.append(record)
    report = summarise(chosen, records, facts, rounds, options.quick)
    table = page(report)
    if options.table:
        options.table.write_text(table, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(as_json(report), indent=1) + "\n", encoding="utf-8")
    print(table)
    return int(any(record.subject == OURS and record.outcome.status == "failed" for record in records))


def progress_line(scenario: Scenario, record: Record, rounds: int) -> str:
    """One measurement as it is made."""
    outcome = record.outcome
    units = {metric.name: metric.unit for metric in scenario.metrics}
    values = ", ".join(f"{name} {number(value)} {units[name]}" for name, value in outcome.values.items())
    told = values or f"{outcome.status}: {outcome.reason}"
    return f"{record.scenario} {record.round + 1}/{rounds} {record.subject}: {told}"


if __name__ == "__main__":
    sys.exit(main())
