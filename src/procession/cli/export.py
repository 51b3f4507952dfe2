"""`procession export`: the rows of a journal as a file that other programs read."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import click

from procession.cli.outputs import as_cell, as_json, plain, reader_gone, whole_file

_SUFFIXES = (".csv", ".jsonl", ".parquet")


@click.command("export")
@click.argument("journal", type=click.Path())
@click.option("-o", "--output", required=True, metavar="FILE", help="FILE.csv, .jsonl or .parquet; - is JSON lines.")
@click.option("--function", help="Only the run of this function.")
def export_command(journal: str, output: str, function: str | None) -> None:
    """Write the rows of a JOURNAL: item, outcome, value, error, tries, seconds, worker, memory."""
    from procession.errors import JournalError

    suffix = ".jsonl" if output == "-" else next((each for each in _SUFFIXES if output.lower().endswith(each)), None)
    if suffix is None:
        raise click.UsageError(f"--output must end with one of {', '.join(_SUFFIXES)}, not {output}")
    try:
        if suffix == ".parquet":
            _write_parquet(journal, output, function)
        else:
            _write_text(journal, output, function, _write_csv if suffix == ".csv" else _write_lines)
    except (JournalError, OSError) as error:
        raise click.UsageError(str(error)) from error


def _write_text(journal: str, output: str, function: str | None, write: Callable[[Any, Iterator[Any]], None]) -> None:
    if output == "-":
        try:
            write(sys.stdout, _rows(journal, function))
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise reader_gone(sys.stdout, "standard output") from error
        return
    with whole_file(output) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", errors="surrogateescape", newline="")
        write(file, _rows(journal, function))
        file.flush()
        file.detach()


def _rows(journal: str, function: str | None) -> Iterator[dict[str, Any]]:
    from procession.journal.reading import iterate_journal

    for row in iterate_journal(journal, function):
        yield {**asdict(row), "value": plain(row.value), "finished": row.finished.isoformat()}


def _write_lines(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    for row in rows:
        file.write(as_json(row) + "\n")


def _write_csv(file: Any, rows: Iterator[dict[str, Any]]) -> None:
    from procession.journal.reading import Row

    writer = csv.DictWriter(file, list(Row.__dataclass_fields__))
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "value": as_cell(row["value"])})


def _write_parquet(journal: str, output: str, function: str | None) -> None:
    try:
        import pandas as pd  # type: ignore[import-untyped]
    except ImportError as error:
        raise click.UsageError(f"a .parquet file takes pandas: {error}") from error
    rows = list(_rows(journal, function))
    values = [row["value"] for row in rows]
    if not all(isinstance(value, (int, float, str, bytes, type(None))) for value in values):
        rows = [{**row, "value": as_json(row["value"])} for row in rows]
    try:
        pd.DataFrame(rows).to_parquet(output)
    except ImportError as error:  # pandas has no way of its own to write it
        raise click.UsageError("a .parquet file takes pyarrow or fastparquet, and neither is installed") from error
