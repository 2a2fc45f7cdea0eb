"""Views: folds over entries, pure and without a memory of their own."""
