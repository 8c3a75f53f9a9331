"""The truth: what every job is, was and owes. Nothing else in the program remembers across a restart.

Rooms: `schema` (tables), `engine` (how the file is opened), `store` (the daemon's asynchronous door),
`moves` (every write), `queries` (every read), `migrations` (how an older file becomes a newer one).
"""
