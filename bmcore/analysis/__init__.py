"""Results of votes and studies: for the Agreement page and the report alike."""
