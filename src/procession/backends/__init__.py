"""Backends: where chunks are run.  One small protocol, one module an implementation."""
