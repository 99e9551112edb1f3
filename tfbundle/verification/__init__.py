"""Verification: the problems in files, and their probable causes."""
