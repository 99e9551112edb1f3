"""What every wing means by a tensor: names, types, shapes, slices, selections; no file format."""
