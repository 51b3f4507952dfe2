"""One battery that states what `multiprocessing` promises, run on Procession and, to prove it right, on itself.

`PROCESSION_BATTERY=stdlib pytest tests/conformance` runs it on the standard library.
"""
