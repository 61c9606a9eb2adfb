"""The lab: ten interactive pages on transposed convolution, served by ``unstride lab``.

==================  =============================================================
``lab.chapters``    the chapters as data
``lab.notebooks``   one marimo notebook a chapter
``lab.page``        what the notebooks share: heading, figures, tables
``lab.server``      serves all of them at one address
==================  =============================================================
"""
