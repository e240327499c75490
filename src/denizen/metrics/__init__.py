"""Figures for operators: what all processes of the service have done, as Prometheus reads it.

Each process counts in plain numbers (`denizen.tally`, `denizen.db.tally`) and once a second leaves
them in a folder of the run; whichever is asked adds them up. Decision 0040 says why it is no
shared memory.
"""
