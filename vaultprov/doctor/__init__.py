"""Diagnosis: declared checks over one shared view of the world -> one root cause, one next command.

Facts are gathered once however many checks ask for them (`world`), checks say what they see
(`checks`), the engine orders them and skips what cannot be told (`engine`).
"""
