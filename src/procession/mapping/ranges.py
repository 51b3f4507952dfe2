"""Ranges of positions: which have been seen.  Pure."""

from __future__ import annotations

from bisect import bisect_right


class Ranges:
    """Positions, kept as a low mark and the few ranges above it."""

    __slots__ = ("_starts", "_stops", "low")

    def __init__(self) -> None:
        self.low = 0  #: all positions below are there
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Add the positions from ``start`` to before ``stop``; return those that are new, as ranges."""
        if start == self.low and not self._starts:  # one after another, as most come
            self.low = stop
            return [(start, stop)]
        fresh = self._missing(max(start, self.low), stop)
        for each in fresh:
            self._insert(*each)
        if self._starts and self._starts[0] == self.low:
            self.low = self._stops.pop(0)
            del self._starts[0]
        return fresh

    def _missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        starts, stops = self._starts, self._stops
        found = []
        place = bisect_right(starts, start)
        if place and stops[place - 1] > start:
            start = stops[place - 1]
        while start < stop:
            edge = min(stop, starts[place]) if place < len(starts) else stop
            if start < edge:
                found.append((start, edge))
            if edge == stop:
                break
            start = stops[place]
            place += 1
        return found

    def _insert(self, start: int, stop: int) -> None:
        """Add a range of new positions, joined to those that it touches."""
        starts, stops = self._starts, self._stops
        place = bisect_right(starts, start)
        if place < len(starts) and starts[place] == stop:
            stop = stops[place]
            del starts[place], stops[place]
        if place and stops[place - 1] == start:
            stops[place - 1] = stop
        else:
            starts.insert(place, start)
            stops.insert(place, stop)
