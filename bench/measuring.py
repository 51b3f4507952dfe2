"""Measuring one subject in this very process: is it there, and if so, what are its values."""

from __future__ import annotations

from bench.model import Outcome, Scenario
from bench.peers import POOLS
from bench.peers.base import missing_module
from bench.scenarios import SCENARIOS


def outcome_of(scenario: str, subject: str, quick: bool) -> Outcome:
    """Measure `subject` in `scenario` once; an error of the measurement itself is raised as it is."""
    chosen = SCENARIOS[scenario]
    if reason := why_missing(chosen, subject):
        return Outcome("missing", reason=reason)
    measurement = chosen.measure(subject, chosen.size(quick))
    return Outcome("ok", dict(measurement.values), measurement.note)


def why_missing(scenario: Scenario, subject: str) -> str:
    """Why this subject cannot be measured here; empty when it can."""
    reasons = [missing_module(module) for module in scenario.requires]
    if subject in POOLS:
        reasons.append(POOLS[subject].missing())
    return next((reason for reason in reasons if reason), "")
