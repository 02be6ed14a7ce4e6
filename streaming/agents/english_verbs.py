"""The English verbs of the built-in agent, with their forms."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from streaming.agents.finding import Needs


class Form(StrEnum):
    """How a verb is inflected."""

    BASE = "base"
    THIRD = "third"  # deletes
    GERUND = "gerund"  # deleting
    PAST = "past"  # deleted


class Entry(NamedTuple):
    """One inflected verb; `is_noun_too` asks for a verb's place before it is taken for one."""

    verb: str
    form: Form
    is_noun_too: bool
    needs: Needs
    names: str
    is_light: bool
    is_reading: bool


class Row(NamedTuple):
    """Verbs of one meaning; `+` doubles the last consonant, `/` gives irregular pasts.

    A light verb takes its meaning from a deed: `issue a refund`, `make a payment`.
    """

    verb: str
    words: str
    is_noun_too: bool = False
    needs: Needs = Needs.NOTHING
    names: str = ""
    is_light: bool = False


_ACTIONS = (
    Row("delete", "delete erase purge wipe destroy discard eradicate truncate"),
    Row("delete", "get_rid_of/got_rid_of"),
    Row("delete", "drop+ trash", True),
    Row("delete", "clear empty clean clean_up clean_out clear_out", True, Needs.TARGET),
    Row("remove", "remove detach strip+ eliminate evict expunge take_down/took_down"),
    Row("archive", "archive", True),
    Row("backup", "back_up backup", True),
    Row("restore", "restore recover"),
    Row("send", "send/sent resend/resent re-send/re-sent dispatch deliver send_out/sent_out"),
    Row("send", "forward reply respond", True),
    Row("send", "email e-mail mail", True, names="mail"),
    Row("send", "text message dm", True, Needs.TARGET, "message"),
    Row("send", "notify inform remind alert", names="notification"),
    Row("pay", "pay/paid repay/repaid prepay/prepaid settle", True),
    Row("charge", "charge bill", True, Needs.TARGET),
    Row("buy", "buy/bought purchase", True),
    Row("buy", "order", True, Needs.TARGET),
    Row("transfer", "transfer+ wire remit+ donate", True),
    Row("transfer", "withdraw/withdrew/withdrawn deposit", True, names="money"),
    Row("refund", "refund reimburse", True),
    Row("merge", "merge squash rebase", True),
    Row("commit", "commit+", True, Needs.TARGET),
    Row("push", "push force-push", True),
    Row("deploy", "deploy redeploy re-deploy ship+ roll_out promote", True),
    Row("deploy", "launch go_live/went_live", True, Needs.TARGET),
    Row("rollback", "roll_back rollback revert undo/undid/undone", True),
    Row("release", "release", True),
    Row("create", "create generate provision insert recreate re-create register set_up/set_up"),
    Row("create", "write/wrote/written draft compose build/built", True, Needs.NOUN),
    Row("create", "make/made issue", True, Needs.NOUN, is_light=True),
    Row("add", "add append", False, Needs.TARGET),
    Row("add", "comment", True, Needs.NOUN, "comment"),
    Row("upload", "upload reupload re-upload", True),
    Row("save", "save", False, Needs.TARGET),
    Row("update", "update modify alter edit overwrite/overwrote/overwritten amend upgrade", True),
    Row(
        "update",
        "change patch replace adjust fix configure correct mark increase label",
        True,
        Needs.TARGET,
    ),
    Row("update", "set+/set decrease raise lower extend", True, Needs.TARGET),
    Row("move", "move relocate migrate", True, Needs.TARGET),
    Row("copy", "copy duplicate clone", True, Needs.TARGET),
    Row("export", "export", True, Needs.TARGET),
    Row("rename", "rename"),
    Row("cancel", "cancel cancel+ abort terminate void unsubscribe call_off"),
    Row("publish", "publish republish re-publish"),
    Row("publish", "post tweet announce", True),
    Row("share", "share", True, Needs.TARGET),
    Row("run", "run+/ran execute invoke trigger", True, Needs.TARGET, is_light=True),
    Row(
        "start",
        "start begin+/began/begun initiate kick_off spin+_up/spun_up",
        True,
        Needs.NOUN,
        is_light=True,
    ),
    Row(
        "stop",
        "stop+ halt kill shut+_down/shut_down spin+_down/spun_down pause suspend",
        True,
        Needs.TARGET,
    ),
    Row("stop", "turn_off switch_off tear_down/tore_down", False, Needs.TARGET),
    Row("restart", "restart reboot re-start"),
    Row("close", "close", True, Needs.TARGET),
    Row("open", "open reopen re-open", True, Needs.NOUN),
    Row("approve", "approve", False, Needs.TARGET),
    Row("reject", "reject decline deny", False, Needs.TARGET),
    Row("install", "install reinstall"),
    Row("uninstall", "uninstall"),
    Row("block", "block ban+ lock blacklist", True, Needs.TARGET),
    Row("grant", "grant", True, Needs.TARGET),
    Row("revoke", "revoke"),
    Row("enable", "enable activate turn_on switch_on"),
    Row("disable", "disable deactivate"),
    Row("submit", "file", True, Needs.NOUN),
    Row("submit", "submit+", False, Needs.TARGET),
    Row("reset", "reset+/reset"),
    Row("sign", "sign", True, Needs.NOUN),
    Row("assign", "assign reassign"),
    Row("schedule", "schedule reschedule", True, Needs.TARGET),
    Row("book", "book reserve", True, Needs.TARGET),
    Row("invite", "invite"),
    Row("subscribe", "subscribe"),
    Row("process", "process", True, Needs.NOUN, is_light=True),
    Row(
        "process",
        "perform do/did/done complete finalize carry_out/carried_out proceed_with go_ahead_with",
        True,
        Needs.DEED,
        is_light=True,
    ),
)
_READINGS = (
    Row("search", "search find/found look query browse retrieve fetch locate scan+ download", True),
    Row("search", "get+/got", False),
    Row("summarize", "summarize summarise recap+ condense", True),
    Row("list", "list show display view see/saw/seen read/read preview print count", True),
    Row("list", "give/gave/given", True, names="money"),
    Row(
        "analyze",
        "analyze analyse check review inspect verify compare examine monitor audit "
        "calculate estimate evaluate investigate classify track",
        True,
    ),
    Row("explain", "tell/told", True, names="notification"),
    Row(
        "explain",
        "explain describe outline clarify help know/knew/known learn "
        "understand/understood recommend suggest discuss",
        True,
    ),
    Row("translate", "translate"),
)
_VOWELS = "aeiou"


def _regular_past(word: str, doubled: bool) -> str:
    if doubled:
        return f"{word}{word[-1]}ed"
    if word.endswith("e"):
        return f"{word}d"
    if word.endswith("y") and word[-2] not in _VOWELS:
        return f"{word[:-1]}ied"
    return f"{word}ed"


def _gerund(word: str, doubled: bool) -> str:
    if doubled:
        return f"{word}{word[-1]}ing"
    if word.endswith("e") and not word.endswith("ee"):
        return f"{word[:-1]}ing"
    return f"{word}ing"


def with_s(word: str) -> str:
    """Return the plural, or the third person, of a regular English word."""
    if word.endswith(("s", "x", "z", "ch", "sh")) or word in {"go", "do"}:
        return f"{word}es"
    if word.endswith("y") and word[-2:-1] not in tuple(_VOWELS):
        return f"{word[:-1]}ies"
    return f"{word}s"


def _forms(cell: str) -> list[tuple[tuple[str, ...], Form]]:
    """Inflect one cell of a row: its words (a phrase inflects its first) with their form."""
    base, *pasts = cell.split("/")
    first, *rest = base.split("_")
    doubled = first.endswith("+")
    first = first.removesuffix("+")
    if rest and rest[-1].endswith("+"):
        rest[-1] = rest[-1][:-1]
    spelled = [tuple(past.split("_")) for past in pasts] or [(_regular_past(first, doubled), *rest)]
    return [
        *((words, Form.PAST) for words in spelled),
        ((_gerund(first, doubled), *rest), Form.GERUND),
        ((with_s(first), *rest), Form.THIRD),
        ((first, *rest), Form.BASE),
    ]


def _entries() -> dict[str, list[tuple[tuple[str, ...], Entry]]]:
    entries: dict[tuple[str, ...], Entry] = {}
    rows = [(row, True) for row in _READINGS] + [(row, False) for row in _ACTIONS]
    for row, is_reading in rows:
        for cell in row.words.split():
            for words, form in _forms(cell):
                known = entries.get(words)
                # A word that is base and past alike (`set`) counts as its base.
                if known is not None and known.form is Form.BASE and form is not Form.BASE:
                    continue
                entries[words] = Entry(
                    row.verb, form, row.is_noun_too, row.needs, row.names, row.is_light, is_reading
                )
    by_first: dict[str, list[tuple[tuple[str, ...], Entry]]] = {}
    for words, entry in sorted(entries.items(), key=lambda item: -len(item[0])):
        by_first.setdefault(words[0], []).append((words[1:], entry))
    return by_first


# By a verb's first word: the words that must follow it, longest first, and the entry.
VERBS = _entries()
