"""One measurement in an interpreter of its own: `python -m bench.child SCENARIO SUBJECT quick|full`.

Prints the outcome as the last line of its output, as JSON. It is the `__main__` that a fork server's workers import
again, so it imports nothing before it runs, and what it runs is in the other modules.
"""

from __future__ import annotations

import sys


def main(scenario: str, subject: str, extent: str) -> None:
    """Measure, and print the outcome."""
    import json

    from bench.measuring import outcome_of

    outcome = outcome_of(scenario, subject, quick=extent == "quick")
    print(json.dumps(outcome.__dict__), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
