"""Words and letters for people: line breaks, fonts, catalogues of sentences in two languages, units, tables."""
