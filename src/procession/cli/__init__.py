"""The command line: a face like `Pool`, standing on the public API alone.

click is imported here and nowhere else, and each command imports the engine only when it starts to work, so
that `--help` and every mistake in the arguments answer at once.
"""
