"""Tensors in files of other programs, and in memory, one module for each kind of file."""
