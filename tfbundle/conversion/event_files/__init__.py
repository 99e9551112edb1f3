"""Editing of event files: tags renamed and dropped, steps cut and shifted, the files of a run merged."""
