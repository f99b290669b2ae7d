"""The studio as a web page, and who may open it."""
