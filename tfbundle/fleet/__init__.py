"""Any number of runs and checkpoints at once: tables, data sets, worker processes and clusters."""
