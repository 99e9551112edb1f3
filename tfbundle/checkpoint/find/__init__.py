"""From a path to the files of the checkpoint that it means."""
