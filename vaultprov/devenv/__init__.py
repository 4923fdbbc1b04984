"""Development servers as context managers: what `vaultprov demo` and the tests run against."""
