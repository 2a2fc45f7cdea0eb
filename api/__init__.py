"""The HTTP skin: turns requests into calls of the library, and what they return into answers."""
