"""Starts, limits and watches every process that runs a candidate's code or reads what it made."""
