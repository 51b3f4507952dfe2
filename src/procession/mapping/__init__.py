"""Mappings: many items through one function, or one call at a time; the same on every backend.

Sources give the items out, in order and chunk by chunk; collectors take the outcomes in.
"""
