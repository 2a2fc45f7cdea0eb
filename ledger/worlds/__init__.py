"""The three worlds told outward: labels on other carriers, and who is called for what."""
