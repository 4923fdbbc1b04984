"""The ports for real: the users of hvac and of kubernetes; errors are translated here."""
