"""Event files: training curves and all that TensorBoard shows, as numpy arrays."""
