"""A diagnosis -> text, in every form that doctor has. All are made from the same value."""

from vaultprov.report.diagnosis.human import lines, summary

__all__ = ["lines", "summary"]
