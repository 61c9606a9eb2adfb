"""The commands, one file a group of them; `unstride.app.cli` gathers them.

Keras and Matplotlib take seconds to import, so the commands import what uses them when they run, after the checks
that need neither.
"""
