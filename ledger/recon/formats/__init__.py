"""One file per statement format: bytes in, lines and findings out."""
