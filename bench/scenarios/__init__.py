"""The scenarios of the benchmarks, in the order of the issue's table. To add one: a module, and a line here."""

from __future__ import annotations

from bench.model import Scenario
from bench.scenarios import (
    array_arg,
    array_result,
    array_roundtrip,
    call,
    frames,
    import_time,
    journal,
    many_small,
    map_chunk1,
    map_tiny,
    progress,
    row_blocks,
    share,
    skewed,
    start,
    stream,
    submit,
    uneven,
    workers,
)

SCENARIOS: dict[str, Scenario] = {
    module.SCENARIO.name: module.SCENARIO
    for module in (
        call,
        submit,
        map_tiny,
        map_chunk1,
        skewed,
        start,
        import_time,
        workers,
        array_arg,
        array_result,
        array_roundtrip,
        row_blocks,
        many_small,
        share,
        frames,
        stream,
        journal,
        progress,
        uneven,
    )
}
