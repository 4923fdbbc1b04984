"""Offline pages for the codes of doctor, and a matcher from an error text to its likely causes."""
