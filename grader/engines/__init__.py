"""The engine runner: trusted code that runs plans which candidates' code emitted, one module per kind of tier."""
