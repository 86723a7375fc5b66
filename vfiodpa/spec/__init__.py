"""Specifications as tables: one file per chapter, declarations only."""
