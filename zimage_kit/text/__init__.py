"""Text: line breaks, fonts, catalogues in two languages, units, tables."""
