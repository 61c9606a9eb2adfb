"""Training in a run folder: repeatable, interruptible, resumable, on one machine or several."""
