"""The session's queue: everyone's jobs, those of this panel with what can be done about them."""
