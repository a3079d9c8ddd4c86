"""A certificate for a central system in a test, and what trusts it."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Certificate:
    """One for `localhost`.

    Args:
        folder: where its files are put.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        chain, key = folder / "chain.pem", folder / "key.pem"
        issued.private_key_pem.write_to_path(key)
        for each in issued.cert_chain_pems:
            each.write_to_path(chain, append=True)
        self.options = ["--tls-cert", str(chain), "--tls-key", str(key)]
        """For `python -m server`."""
        self.client = ssl.create_default_context()
        """Of clients that trust it."""
        authority.configure_trust(self.client)
