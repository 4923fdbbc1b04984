"""Connect Kubernetes clusters to Vault or OpenBao for External Secrets.

The pipeline: argv and site file -> Onboarding -> resources -> plan -> results -> outcome.
"""

__version__ = "0.1.0"
