"""Procession in the hands of a user: scripts, prompts, notebooks, real clients."""
