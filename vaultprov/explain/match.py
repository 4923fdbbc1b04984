"""From an error text, as it is pasted from a log or an event, to its likely causes.

A symptom's words have to stand in the text in their order; what varies may be anything short. Of
those that do, the one with more words of its own says more. What words alone do not tell is told
by rules: who was asked (the webhook, the API server, Vault), what stands before the words, and the
time that the request took. 30 s is a dropped connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from vaultprov.explain.pages import Page, all_pages

_MOST = 65536  # characters of a text that are looked at
_LONG = 25.0  # seconds; Vault gives a dropped connection up after 30

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_BREAK = re.compile(r"(?<!\\)\\++[nrt]")  # as JSON, and JSON within JSON, has it
_QUOTE = re.compile(r"(?<!\\)\\++(?:\"|u0022)")
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_ ]*>")
_GAP = 160  # characters that a placeholder stands for, at most

_TOOK = re.compile(
    r"(?<!retry )(?<!retrying )(?<![\w-])(?:after|took|duration|elapsed|in)(_ms)?[\"':= ]{1,4}"
    r"(?:(\d{1,3})m)?(\d{1,6}(?:\.\d{1,9})?) ?(ms|milliseconds|s|secs?|seconds)\b"
)
_TOOK_MS = re.compile(r"(?:took|duration|elapsed)_ms[\"':= ]{1,4}(\d{1,9}(?:\.\d{1,9})?)")

# Constants that External Secrets writes whatever went wrong: they never stand before a cause.
_CONSTANT: Final = ("VP-ES-007", "VP-ES-008")

# `* permission denied` of Vault itself, with no `1 error occurred:` before it, and not a file's.
_DENIED = re.compile(r"permission denied")
_AUTHENTICATED = re.compile(r"\berrors? occurred:? ?\*? ?$")
_BARE_BEFORE = re.compile(
    r"(?:^|\* ?|errors: ?|errors\": ?\[\"|\"(?:error|err|msg|message)\": ?\"|\b403\W{0,3}"
    r"|with \S{1,40} auth: )$"
)
_LOGIN = re.compile(r"/login\b|\bunable to log ?in\b|\blog(?:ging)? in (?:to|with)\b")
_OTHER_CALL = re.compile(r"url: (?:get|put|post|list|delete|patch) [^ ]{1,400}/v1/")
_TIMEOUT = re.compile(r"context deadline exceeded")
_ADDRESSED = re.compile(r"https?://|\b\d{1,3}(?:\.\d{1,3}){3}\b")

_BARE: Final = {  # what a refused login may be, the likeliest first
    "VP-REV-001": 0.9,
    "VP-AUTH-001": 0.85,
    "VP-REV-004": 0.8,
    "VP-REV-002": 0.75,
    "VP-REV-009": 0.6,
    "VP-AUTH-006": 0.55,
}

# Who was asked, before what was answered. The first that is in the text is the one that counts.
_ASKED: Final[tuple[tuple[str, str, float], ...]] = (
    (r"failed calling webhook", "VP-OP-005", 0.99),
    (r"error checking (?:oidc discovery|jwks) url", "VP-JWT-004", 0.99),
    (r"tokenreviews\b.{0,300}? x509:", "VP-REV-004", 0.98),
    (r"tokenreviews\b.{0,300}? forbidden", "VP-REV-002", 0.98),
    (
        (
            r"tokenreviews\b.{0,300}? (?:i/o timeout|connection refused|no such host|no route"
            r"|deadline exceeded|tls handshake timeout)"
        ),
        "VP-REV-003",
        0.98,
    ),
    (r"tokenreviews\b.{0,300}? unauthorized", "VP-REV-001", 0.98),
    (r"invalid vault credentials", "VP-AUTH-007", 0.97),
    (r"error validating token: .{0,80}?\(aud\) claim", "VP-JWT-001", 0.97),
    (r"namespace not authorized .{0,40}?namespace lookup failed", "VP-AUTH-005", 0.97),
    (r"proxyconnect tcp", "VP-NET-007", 0.97),
    (
        r"\bget \"?https://[^ ]{1,200}/apis?[/?\"].{0,200}?(?:i/o timeout|deadline exceeded)",
        "VP-NET-005",
        0.96,
    ),
    (r"(?:read|dial) udp .{0,120}?i/o timeout", "VP-DNS-001", 0.96),
    (r"cannot find secrets? .{0,20}?bound to service account", "VP-SA-001", 0.96),
    (r"spec\.data\[\d{1,6}\].{0,200}?cannot find secret data for key", "VP-KV-004", 0.96),
    (r"cannot get kubernetes secret", "VP-SA-005", 0.96),
)


@dataclass(frozen=True, slots=True)
class Match:
    """A likely cause. score: 0 to 1. why: the symptom that is in the text, or what told it."""

    page: Page
    score: float
    why: str


def match(text: str, took: float | None = None) -> tuple[Match, ...]:
    """Likely causes, the likeliest first; none when nothing that is known looks like the text.

    text: its first 64 KiB are looked at. took: seconds; else taken from the text if it says so.
    """
    plain = _plain(text[:_MOST])
    seconds = took if took is not None else _duration(plain)
    pages = {page.code: page for page in all_pages()}
    best: dict[str, Match] = {}
    for code, score, why in (*_ruled(plain, seconds), *_worded(plain, pages, seconds)):
        held = best.get(code)
        if code in pages and (held is None or held.score < score):
            best[code] = Match(pages[code], round(score, 3), why)
    return tuple(sorted(best.values(), key=lambda each: -each.score))


def _worded(
    plain: str, pages: Mapping[str, Page], seconds: float | None
) -> Iterator[tuple[str, float, str]]:
    """The symptoms whose words are in the text; those that only rules can judge are left out."""
    for page in pages.values():
        for symptom, word, pattern, words in _patterns(page):
            if word in plain and pattern.search(plain):
                score = 0.3 + 0.6 * min(1.0, words / 90)
                if page.code in _CONSTANT:
                    score *= 0.3
                elif page.took in ("30s", "60s") and seconds is not None and seconds < 1:
                    score *= 0.5  # what fails at once was not dropped
                yield page.code, score, symptom


def _ruled(plain: str, seconds: float | None) -> Iterator[tuple[str, float, str]]:
    """What stands before the words, and the time, where the words are the same."""
    asked = [(code, score, found[0]) for pattern, code, score in _ASKED
             if (found := re.search(pattern, plain))]  # fmt: skip
    yield from asked[:1]
    # An answer within another's: a second one is a part of the first.
    yield from ((code, score - 0.3, why) for code, score, why in asked[1:])
    yield from _timed_out(plain)
    yield from _denied(plain, seconds)


def _timed_out(plain: str) -> Iterator[tuple[str, float, str]]:
    for found in _TIMEOUT.finditer(plain):
        before = plain[max(0, found.start() - 200) : found.start()]
        if not _ADDRESSED.search(before):
            why = "`context deadline exceeded` without URL or address"
            yield "VP-NET-001", 0.92, why
            yield "VP-NET-003", 0.6, why
            return


def _denied(plain: str, seconds: float | None) -> Iterator[tuple[str, float, str]]:
    """`permission denied`: of a login or of a read, at once or after a dropped connection."""
    seen = {_kind_of_denial(plain, found.start()) for found in _DENIED.finditer(plain)}
    if "acl" in seen:
        yield "VP-KV-001", 0.93, "`1 error occurred:` before the denial: the token is valid"
    if "read" in seen:
        yield "VP-KV-001", 0.6, "a request other than a login was denied"
        yield "VP-AUTH-008", 0.5, "a request other than a login was denied"
    if "login" not in seen:
        return
    if seconds is not None and seconds >= _LONG:
        yield "VP-REV-003", 0.95, f"`permission denied` after {seconds:.0f} s"
        for code, score in _BARE.items():
            yield code, score * 0.4, "a bare `permission denied`"
        return
    at_once = "" if seconds is None else " at once" if seconds < 1 else f" after {seconds:.0f} s"
    for code, score in _BARE.items():
        yield code, score, f"a bare `permission denied`{at_once}"
    yield (
        "VP-REV-003",
        0.2 if at_once == " at once" else 0.5,
        ("a bare `permission denied`, if it took 30 s"),
    )


def _kind_of_denial(plain: str, at: int) -> str:
    before = plain[max(0, at - 600) : at]
    if _AUTHENTICATED.search(before):
        return "acl"
    if not _BARE_BEFORE.search(before[-60:]):
        return "login" if _LOGIN.search(before) and not before.endswith(": ") else ""
    if not _LOGIN.search(before) and _OTHER_CALL.search(before):
        return "read"
    return "login"


def _duration(plain: str) -> float | None:
    """The longest time that the text says something took; timestamps and ports are none."""
    times = [
        60 * int(minutes or 0) + float(number) / (1000 if unit.startswith("m") else 1)
        for _, minutes, number, unit in _TOOK.findall(plain)
    ]
    times += [float(number) / 1000 for number in _TOOK_MS.findall(plain)]
    return max(times, default=None)


def _plain(text: str) -> str:
    """Without colours, escapes and line breaks, in lower case."""
    text = _QUOTE.sub('"', _BREAK.sub(" ", _COLOUR.sub("", text)))
    return " ".join(text.lower().split())


@cache
def _patterns(page: Page) -> tuple[tuple[str, str, re.Pattern[str], int], ...]:
    """Each symptom with its longest word, its pattern, and how many characters are its own."""
    return tuple(
        (symptom, max(" ".join(parts).split(), key=len), _pattern(parts), sum(map(len, parts)))
        for symptom in page.symptoms
        if (parts := [part for part in _parts(symptom) if part]) and not _judged(symptom)
    )


def _judged(symptom: str) -> bool:
    """Words that say nothing by themselves: rules judge them."""
    return _plain(symptom).endswith("* permission denied")


def _parts(symptom: str) -> list[str]:
    return [" ".join(part.lower().split()) for part in _PLACEHOLDER.split(symptom)]


def _pattern(parts: Iterable[str]) -> re.Pattern[str]:
    """Atomic and bounded gaps: what varies is a name or an address, and the search stays linear."""
    first, *others = [r" ?".join(map(re.escape, part.split())) for part in parts]
    gaps = "".join(f"(?>.{{0,{_GAP}}}?{each})" for each in others)
    start = r"(?<!\w)" if first[0].isalnum() else ""
    return re.compile(start + first + gaps)
