"""Protobuf messages in text form."""
