"""The words of the product: pure values and decisions, no I/O, no clock, no event loop.

Everything here can be tested as a table. Nothing here may learn what time it is,
what a disk holds or what the platform says: those facts are passed in.
"""
