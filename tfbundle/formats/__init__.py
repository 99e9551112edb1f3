"""Bytes to structure: tables, records, text messages and the codes they are made of. Nothing here knows tensors."""
