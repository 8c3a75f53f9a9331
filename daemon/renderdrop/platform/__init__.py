"""The remote platform: nothing else in the program knows a URL, a header or a status code.

Everything that comes back is a stranger's: capped, timed and parsed tolerantly here, and turned into
plain values or into one of our own faults. Nothing here decides what happens to a job.
"""
