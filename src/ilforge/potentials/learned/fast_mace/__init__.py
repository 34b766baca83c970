"""Fast evaluation of small MACE models on a CPU: the whole network in compiled kernels, without PyTorch."""
