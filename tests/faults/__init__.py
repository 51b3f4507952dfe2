"""What kills, breaks or confuses workers, and what must come of it."""
