"""What runs inside a sandboxed process: it locks itself down, then serves the grader."""
