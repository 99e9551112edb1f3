"""The formats that are written, one module each."""
