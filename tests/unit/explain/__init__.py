"""The pages and the matcher of `vaultprov explain`."""
