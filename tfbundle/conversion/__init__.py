"""Tensors written to other formats."""
