"""The command line, the trainings that it runs, and their reports."""
