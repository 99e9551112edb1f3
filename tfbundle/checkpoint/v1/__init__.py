"""V1 checkpoints: tables that hold the values themselves."""
