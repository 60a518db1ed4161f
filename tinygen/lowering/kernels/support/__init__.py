"""What the plans of several rooms share, by what it serves.

===========  =================================================================================
folder       serves
===========  =================================================================================
activations  how codes are read: encodings, widening to int16, packed fields, single bits, windows
weights      how weights are stored: codes of few bits, orders, shared or gathered weights
epilogues    how sums become codes: multipliers, thresholds, tables, all proven on every sum
loops        jobs that put the three together for one kind of inner loop
===========  =================================================================================
"""
