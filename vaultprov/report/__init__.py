"""Outcomes -> text. Nothing here prints; human and JSON are made from the same value."""
