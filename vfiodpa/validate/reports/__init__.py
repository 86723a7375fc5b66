"""What a run looks like to others: one HTML page, JUnit XML, JSON, and two runs side by side."""
