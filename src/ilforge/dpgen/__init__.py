"""Move in from DP-GEN: its settings, its machine, its labels and its models, as a study of ilforge.

DP-GEN is not needed for this, and none of its code is used. Its file formats are those of its documentation
(https://docs.deepmodeling.com/projects/dpgen, version 0.13) and of dpdispatcher
(https://docs.deepmodeling.com/projects/dpdispatcher).
"""
