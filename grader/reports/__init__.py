"""A run's result as text for a person (terminal), and as JSON and JUnit for machines."""
