"""The Ansible collection, and the engine that its modules call."""
