"""Grades the submissions of a whole class: finds them, has each graded on its own, keeps results as they come."""
