"""What TensorBoard's plugins store in event files, a package for each plugin."""
