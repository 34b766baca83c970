"""Numerical kernels of the properties: functions of arrays, shared by any property that needs them."""
