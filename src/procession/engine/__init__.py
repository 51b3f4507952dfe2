"""The engine: who runs what, and when, on worker processes.

``scheduler``, ``supervisor`` and ``pace`` are pure machines; ``driver`` is the only writer of their
state and carries out what they decide; ``seat`` decides which thread drives.
"""
