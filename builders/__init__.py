"""Problems in, dataset rows out."""
