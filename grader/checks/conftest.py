"""Makes a bare ``pytest grader/checks --submission DIR`` work like ``trtprep run``."""

pytest_plugins = ("grader.plugin",)
