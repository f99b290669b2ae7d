"""The session that all programs of a user share: Dask processes, and what crosses between them."""
