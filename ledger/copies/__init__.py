"""Copies: a log as plain files, compared with what was signed, and brought home after a loss."""
