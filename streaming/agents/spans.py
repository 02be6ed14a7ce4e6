"""Deals the words of a sentence out to its verbs: which object and parameter belongs to which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from streaming.agents import english_words, korean_words
from streaming.agents.finding import Finding
from streaming.agents.tokens import NEWLINE, Kind, Token


class Span(NamedTuple):
    """A verb and what belongs to it; `start` and `end` are positions in the text."""

    finding: Finding
    before: Sequence[Token]
    after: Sequence[Token]
    start: int
    end: int

    @property
    def argument(self) -> Sequence[Token]:
        """Return where the object stands: before a Korean verb, after an English one."""
        if self.finding.is_korean or self.finding.is_passive:
            return self.before or self.after
        return self.after

    @property
    def tokens(self) -> Sequence[Token]:
        return [*self.before, *self.after]


def spans(sentence: Sequence[Token], found: Sequence[Finding], first: int, last: int) -> list[Span]:
    """Return a span for each verb of `found`, in order, of the tokens from `first` to `last`.

    A token belongs to one verb, but `delete and archive the mails` shares its object.
    """
    dealt = list(_dealt(sentence, found, first, last))
    for position in range(len(dealt) - 2, -1, -1):
        span, following = dealt[position], dealt[position + 1]
        is_bare = not any(map(_says, span.after))
        between = sentence[span.finding.end : following.finding.start]
        is_joined = bool(between) and not any(map(_says, between))
        if is_bare and is_joined and not span.finding.is_korean and not following.finding.is_korean:
            dealt[position] = span._replace(after=following.after, end=following.end)
    return dealt


def _says(token: Token) -> bool:
    return token.kind is not Kind.MARK and token.text not in english_words.JOINERS


def _dealt(
    sentence: Sequence[Token], found: Sequence[Finding], begin: int, last: int
) -> Iterator[Span]:
    for position, finding in enumerate(found):
        following = found[position + 1] if position + 1 < len(found) else None
        end = _border(sentence, finding, following) if following else last
        before = [*sentence[begin : finding.start], *_prefix(sentence, finding)]
        begin = max(end, finding.end)
        after = sentence[finding.end : end]
        if finding.is_korean and before:
            # What follows a Korean verb belongs to it only where nothing comes before it.
            after = ()
            begin = finding.end if following is not None else begin
        verb = sentence[finding.start : finding.end]
        around = [*before, *verb, *after]
        yield Span(finding, before, after, around[0].start, around[-1].end)


def _prefix(sentence: Sequence[Token], finding: Finding) -> list[Token]:
    """Return what is written onto a Korean verb as a token of its own: 메일 in 메일삭제."""
    if not finding.prefix:
        return []
    token = sentence[finding.start]
    end = token.start + len(finding.prefix)
    return [Token(Kind.HANGUL, finding.prefix, token.start, end, token.is_spaced)]


def _border(sentence: Sequence[Token], finding: Finding, following: Finding) -> int:
    """Return where the words of `finding` end and those of `following` begin."""
    border = following.start
    while border > finding.end and not _parts(sentence[border - 1]):
        border -= 1
    if following.is_korean:
        if finding.is_korean:
            return finding.end
        return border if border > finding.end else following.start
    if finding.is_korean:
        return finding.end
    # `delete 3 mails, then in production deploy it`: only a phrase with a preposition
    # goes before its verb.
    leads = following.is_passive or (
        border < following.start and sentence[border].text in english_words.PREPOSITIONS
    )
    return border if leads else following.start


def _parts(token: Token) -> bool:
    if token.kind is Kind.MARK:
        return token.text in {",", ":", NEWLINE, "(", ")", "-"}
    return token.text in english_words.JOINERS or token.text in korean_words.CLAUSE_OPENERS
