"""CPython's own tests of ``multiprocessing`` and of process-pool futures, run against Procession.

Nothing of CPython is copied here: ``generator`` makes a package from the ``test`` package of the interpreter that runs
it, ``recorder`` runs it there, ``run`` runs every suite on Procession and on the standard library, and ``differences``
says which results differ on purpose.
"""
