"""The application around the library: its command line, its trainings and their reports."""
