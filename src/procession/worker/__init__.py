"""What runs in the children: the zygote, and the workers and processes forked from it.

Imports only ``wire`` and ``system``; never the engine or a face.  Everything here may be killed at
any instruction, so nothing here is needed by anyone else to end.
"""
