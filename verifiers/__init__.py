"""A trace in, a verdict out."""
