"""Verification as jobs: pages read ahead, what a finding leads to, and when runs begin."""
