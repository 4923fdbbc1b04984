"""The cluster side: every kind is one `Manifest`; builders are pure functions."""
