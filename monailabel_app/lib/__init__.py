"""The parts of the app, one concern a module."""
