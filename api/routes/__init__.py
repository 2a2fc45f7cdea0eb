"""The paths of the service, one noun per file."""
