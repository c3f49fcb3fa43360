"""All of ours that a candidate's process may read: nothing in this folder is secret."""
