"""Text that is compiled behind the kernels of an architecture, whose names it uses; these files are never imported."""
