"""The commands, one file for each group. `unstride.app.cli` gathers them.

Keras and Matplotlib take seconds to import. Commands import them when they run, after all checks that need neither.
"""
