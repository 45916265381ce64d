"""TLS as Celery's URL options ask for it; verified unless they say otherwise."""

from __future__ import annotations

import ssl

from celerytop.model.address import Address

_REQUIREMENTS = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}
_FALSE = frozenset({"0", "false", "no", "off"})


def context(address: Address) -> ssl.SSLContext:
    """The context for this address.

    Raises:
        OSError: a certificate or key cannot be read (``ssl.SSLError`` is one).
        ValueError: ``ssl_cert_reqs`` is none of none, optional, required.
    """
    options = {key.removeprefix("ssl_"): value for key, value in address.tls_options}
    made = ssl.create_default_context(cafile=options.get("ca_certs") or None)
    wanted = options.get("cert_reqs", "required").lower().removeprefix("cert_")
    if wanted not in _REQUIREMENTS:
        raise ValueError(f"ssl_cert_reqs is {wanted}, not none, optional or required")
    named = options.get("check_hostname", "true").lower() not in _FALSE
    made.check_hostname = named and wanted == "required"  # off first: CERT_NONE is refused while it is on
    made.verify_mode = _REQUIREMENTS[wanted]
    if options.get("certfile"):
        made.load_cert_chain(options["certfile"], options.get("keyfile") or None)
    return made
