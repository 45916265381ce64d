"""Secrets stay secret: in URLs, arguments, settings."""

from __future__ import annotations

import pytest

from celerytop.model.address import Secret
from celerytop.model.secret import mask_args, redact_url, secret_name

SEEDED = "s33ded"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SEEDED}@h:6379/0",
        f"amqp://u:{SEEDED}@h//;amqp://u2:{SEEDED}@h2//",
        f"sentinel://:{SEEDED}@s1:26379;sentinel://:{SEEDED}@s2:26379/1",
        f"redis://h/0?password={SEEDED}&db=2",
        f"Cannot connect to amqps://mon:{SEEDED}@rmq.int/prod: refused",
        f"http://mon:{SEEDED}@h:15672/api",
    ],
)
def test_no_password_stays_in_a_url(url: str) -> None:
    assert SEEDED not in redact_url(url)


@pytest.mark.parametrize(
    "args",
    [
        f"{{'password': '{SEEDED}'}}",
        f"{{'api_key': '{SEEDED}', 'n': 1}}",
        f'{{"auth_token": "{SEEDED}"}}',
        f"(1, {{'user': {{'secret': '{SEEDED}'}}}})",
        f"passwd={SEEDED}",
        f"ValueError: wrong password: {SEEDED}",
        f"('redis://:{SEEDED}@h/0',)",
        f"{{'password': '{SEEDED} which Celery has cut...",
        f"{{'password': b'{SEEDED}'}}",
        f"{{'passwords': ['{SEEDED}', '{SEEDED}']}}",
        f"{{'token': Secret('{SEEDED}'), 'n': 1}}",
        f"{{'credentials': {{'a': '{SEEDED}', 'b': ['{SEEDED}",
        f'(\'{{\\"password\\": \\"{SEEDED}\\"}}\',)',
        f"{{'api-key': '{SEEDED}'}}",
        f"{{'db.password': '{SEEDED}'}}",
        f"{{'my password': '{SEEDED}'}}",
        f"requests.get: Authorization: Bearer {SEEDED}",
        f"https://s3/x?X-Amz-Signature={SEEDED}&n=1",
        f"('-----BEGIN RSA PRIVATE KEY-----\\n{SEEDED}\\n",
    ],
)
def test_no_secret_stays_in_arguments(args: str) -> None:
    assert SEEDED not in mask_args(args)


@pytest.mark.parametrize("card", ["4111111111111111", "4111 1111 1111 1111", "5500-0000-0000-0004"])
def test_card_numbers_are_masked(card: str) -> None:
    assert card not in mask_args(f"('{card}', 3)")


@pytest.mark.parametrize(
    "args",
    [
        "CardError: declined",
        "AuthError('no')",
        "(8841,)",
        "('2026-11-23T03:28:58.979414',)",
        "{'user': 'ann', 'n': 12}",
        "(1.5,)",
    ],
)
def test_harmless_arguments_stay_as_they_are(args: str) -> None:
    assert mask_args(args) == args


def test_what_follows_a_secret_stays() -> None:
    assert mask_args("{'token': ('a', ['b']), 'n': 12}") == "{'token': ***, 'n': 12}"
    assert mask_args("{'password': b'it\\'s', 'n': 12}") == "{'password': ***, 'n': 12}"


@pytest.mark.parametrize("text", ["'password': ", "password=[", "password='\\\\", "((((", "a:b@", "''", "token=f("])
def test_hostile_text_is_masked_in_linear_time(text: str) -> None:
    """With the square of the length a million characters would take longer than a test may."""
    mask_args(text * (1_000_000 // len(text)))


def test_names_of_secrets() -> None:
    assert secret_name("BROKER_PASSWORD")
    assert secret_name("s3_secret_access_key")
    assert not secret_name("worker_prefetch_multiplier")


def test_a_secret_prints_itself_nowhere() -> None:
    secret = Secret(SEEDED)
    assert SEEDED not in f"{secret} {secret!r} {secret!s} {[secret]} {secret:>10}"
    assert "%s" % secret == "***"  # noqa: UP031 - the old way must not leak either
    assert secret.reveal() == SEEDED


def test_the_quote_around_a_secret_stays() -> None:
    assert mask_args("('token=abc', 1)") == "('token=***', 1)"
