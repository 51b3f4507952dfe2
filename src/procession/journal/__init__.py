"""The journal: one SQLite file that holds what became of every item of a run, so that the next run does the rest.

Knows nothing of mappings, pools or engines.  ``file`` is the file, ``journal`` what a process that writes one has
open, ``reading`` is for all others; ``digest`` names items, ``fingerprint`` functions.
"""

from __future__ import annotations
