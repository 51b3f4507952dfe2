"""Procession as other libraries want it."""
