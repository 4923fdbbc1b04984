"""The checks, one module for each part of the chain; `vaultprov.doctor.table` orders them."""
