"""
Report: a bundle as pages for people. The bundle is the evidence, and the report says so.

`content` says what a report may hold, `sections` what it says of a bundle, `pages` how that is
printed, `seal` puts a signature on the finished file.
"""
