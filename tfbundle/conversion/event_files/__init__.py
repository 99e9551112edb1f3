"""Event files written back: tags renamed and dropped, steps cut and shifted, the files of a run merged."""
