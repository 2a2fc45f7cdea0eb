"""Forms of words, times, names, money, payloads and notices, before any of them is an effect."""
