"""Hostile files: a catalogue of them, and what it takes for the library to keep its promise about each.

The promise is one sentence: **a right value, or one of our errors, and never anything else.** ``exercise`` holds every
public entry to it, as far as ``effort`` decides; ``bundles``, ``old_checkpoints``, ``others`` and ``streams`` make the
files; and ``worker`` runs a case where it can neither take the machine's memory nor stop the tests.
"""
