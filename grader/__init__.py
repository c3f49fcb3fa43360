"""The trusted program: it runs, checks and marks what a candidate wrote."""
