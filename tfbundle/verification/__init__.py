"""Checks: what is wrong in files, and what probably happened to them."""
