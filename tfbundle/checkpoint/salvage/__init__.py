"""Recovery of the intact tensors of a damaged checkpoint."""
