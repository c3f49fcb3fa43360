"""What checks hold an answer against: words and measures, timings, and readings of engines, logs and graphs."""
