"""Single modules: pure machines, and the wire without an engine."""
