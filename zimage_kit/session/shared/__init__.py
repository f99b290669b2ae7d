"""The session that all of a user's programs share: its Dask processes, and the messages between them."""
