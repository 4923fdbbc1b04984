"""One Vault kind, one file: what is wanted, how to read it, how to write it."""
