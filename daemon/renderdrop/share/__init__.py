"""The share room: nothing else in the program touches a user's folder.

Owns: opening below a root without following a link, looking, and the few ways in which a file may be
written, moved or removed there. All of it is synchronous (callers use threads), Linux only, and knows
neither clock nor event loop nor what a job is. Paths are `str`, relative and POSIX ("" is the root
itself), with surrogateescape; roots are absolute `Path`s that the operator configured. A root may be
a link, nothing below it is followed. Trouble comes out as the faults of `model.errors`.
"""
