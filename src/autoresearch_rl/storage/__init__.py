"""What a study leaves behind: the database (the truth), its readable journal, and its lock."""
