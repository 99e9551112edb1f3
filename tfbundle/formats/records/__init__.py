"""TFRecord files, plain and compressed."""
