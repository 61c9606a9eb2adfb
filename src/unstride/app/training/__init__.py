"""Training in a run folder: reproducible, interruptible and resumable, on one machine or several."""
