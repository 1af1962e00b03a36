"""What the plugin knows and does, without Qt and napari: backends, session, journal, regions.

Everything that can block (a `Backend`, the outbox) is called from a worker thread; everything else
is pure or takes milliseconds.
"""
