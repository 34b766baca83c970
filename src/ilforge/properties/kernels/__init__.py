"""Numerical kernels of the properties: functions of arrays that several properties use."""
