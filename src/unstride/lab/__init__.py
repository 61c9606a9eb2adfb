"""The lab: the whole subject as ten pages to change, see and use, run by ``unstride lab``.

==================  =============================================================
``lab.chapters``    the chapters as data
``lab.notebooks``   one marimo notebook a chapter
``lab.page``        what the notebooks have in common: heading, figures, tables
``lab.server``      all of them behind one address
==================  =============================================================
"""
