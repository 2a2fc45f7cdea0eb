"""Finance's room over HTTP: files, runs, breaks and what people decide about them."""
