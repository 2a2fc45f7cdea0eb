"""The auditor's room: periods closed, taken away as signed bundles, and verified without us."""
