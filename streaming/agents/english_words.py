"""The English words of the built-in agent: verbs with their forms, and the small words."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from streaming.agents.finding import Needs
from streaming.agents.vocabulary import OBJECTS


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
    Row("delete", "delete erase purge wipe destroy discard eradicate get_rid_of/got_rid_of"),
    Row("delete", "drop+ trash", True),
    Row("delete", "clear empty clean clean_up clean_out clear_out", True, Needs.TARGET),
    Row("remove", "remove detach strip+ eliminate evict expunge take_down/took_down"),
    Row("archive", "archive", True),
    Row("restore", "restore undelete recover"),
    Row("send", "send/sent resend/resent re-send/re-sent dispatch deliver send_out/sent_out"),
    Row("send", "forward reply respond", True),
    Row("send", "email e-mail mail", True, names="mail"),
    Row("send", "text message dm", True, Needs.TARGET, "message"),
    Row("send", "notify inform remind alert", names="notification"),
    Row("pay", "pay/paid repay/repaid prepay/prepaid settle", True),
    Row("pay", "charge bill", True, Needs.TARGET, "payment"),
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
    Row("rollback", "roll_back rollback revert", True),
    Row("release", "release", True),
    Row("create", "create generate provision insert recreate re-create register set_up/set_up"),
    Row("create", "write/wrote/written draft compose build/built", True, Needs.NOUN),
    Row("create", "make/made issue", True, Needs.NOUN, is_light=True),
    Row("add", "add append", False, Needs.TARGET),
    Row("upload", "upload reupload re-upload", True),
    Row("save", "save", False, Needs.TARGET),
    Row("update", "update modify alter edit overwrite/overwrote/overwritten amend upgrade", True),
    Row("update", "change patch replace adjust fix configure correct mark increase", True,
        Needs.TARGET),
    Row("update", "set+/set decrease raise lower extend", True, Needs.TARGET),
    Row("move", "move relocate migrate", True, Needs.TARGET),
    Row("rename", "rename"),
    Row("cancel", "cancel cancel+ abort terminate void unsubscribe call_off"),
    Row("publish", "publish republish re-publish"),
    Row("publish", "post tweet announce", True),
    Row("share", "share", True, Needs.TARGET),
    Row("run", "run+/ran execute invoke trigger", True, Needs.NOUN, is_light=True),
    Row("start", "start begin+/began/begun initiate kick_off spin+_up/spun_up", True, Needs.NOUN,
        is_light=True),
    Row("stop", "stop+ halt kill shut+_down/shut_down spin+_down/spun_down pause suspend", True,
        Needs.TARGET),
    Row("stop", "turn_off switch_off tear_down/tore_down", False, Needs.TARGET),
    Row("restart", "restart reboot re-start"),
    Row("close", "close", True, Needs.TARGET),
    Row("open", "open reopen re-open", True, Needs.NOUN),
    Row("approve", "approve", False, Needs.TARGET),
    Row("reject", "reject decline deny", False, Needs.TARGET),
    Row("install", "install reinstall"),
    Row("uninstall", "uninstall"),
    Row("block", "block ban+ lock blacklist", True, Needs.TARGET),
    Row("grant", "grant authorize authorise", True, Needs.TARGET),
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
    Row("process", "perform do/did/done complete finalize carry_out/carried_out proceed_with "
        "go_ahead_with", True, Needs.DEED, is_light=True),
)
_READINGS = (
    Row("search", "search find/found look query browse retrieve fetch locate scan+", True),
    Row("search", "get+/got", False),
    Row("summarize", "summarize summarise recap+ condense", True),
    Row("list", "list show display view see/saw/seen read/read preview print count give/gave/given",
        True),
    Row("analyze", "analyze analyse check review inspect verify compare examine monitor audit "
        "calculate estimate evaluate investigate classify track", True),
    Row("explain", "explain describe tell/told outline clarify help know/knew/known learn "
        "understand/understood recommend suggest discuss", True),
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
    spelled = [tuple(past.split("_")) for past in pasts] or [
        (_regular_past(first, doubled), *rest)
    ]
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


def _nouns() -> dict[str, str]:
    singular = {word: name for name, (words, _) in OBJECTS.items() for word in words.split()}
    return singular | {with_s(word): name for word, name in singular.items()}


NOUNS = _nouns()
# Nouns that mean a deed, with its verb.
DEED_NOUNS: dict[str, str] = {
    noun: verb
    for verb, nouns in {
        "buy": "purchase purchases order",
        "cancel": "cancellation",
        "delete": "deletion deletions cleanup purge",
        "deploy": "deployment deploy rollout",
        "merge": "merge",
        "pay": "payment payments",
        "publish": "publication",
        "refund": "refund refunds reimbursement",
        "release": "release",
        "remove": "removal",
        "rollback": "rollback revert",
        "transfer": "transfer transfers remittance withdrawal deposit",
        "update": "update updates upgrade",
    }.items()
    for noun in nouns.split()
}
# Two words that are one object.
NOUN_PAIRS: dict[tuple[str, str], str] = {
    (first, second): name
    for first, seconds, name in (
        ("pull", "request requests", "pull_request"),
        ("merge", "request requests", "pull_request"),
        ("api", "key keys", "key"),
        ("calendar", "event events entry entries", "event"),
        ("mailing", "list lists", "list"),
        ("email", "address addresses", "email_address"),
        ("credit", "card cards", "card"),
    )
    for second in seconds.split()
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "the a an this that these those my your our their its his her each every any some no all "
    "last latest recent next previous new another which whose what how many few several"
)
PREPOSITIONS = _words(
    "of for from in on by with about at via after before since until into onto per during "
    "regarding under over between through within against toward towards as than like without"
)
PRONOUNS = _words("it them those these this that everything ones anything something him her me us")
# Before a verb these say that it is wanted.
LEADS = _words(
    "please pls plz kindly to can could will would should shall must may might you we i they "
    "let's lets us go help now just then also always first finally next again immediately need "
    "do ok okay yes and i'll we'll you'll i'd gonna wanna gotta better dont hey hi asap"
)
ADVERBS = _words("also just then now again first finally always kindly please please, soon back")
NEGATORS = _words(
    "don't dont don’t never cannot can't cant won't wont shouldn't mustn't doesn't didn't couldn't "
    "wouldn't needn't neither nor without avoid nobody"
)
# These negate only with the word before them: `do not`, but not `is not needed`.
AUXILIARIES = _words(
    "do does did should must can could will would shall may might need please to but i we you"
)
# `avoid` and the like: a negation when a gerund follows.
REFRAINING = _words("stop skip prevent quit avoid no cease")
NO_NEGATION_BEFORE = _words(
    "forget hesitate fail neglect only just mind omit miss wait worry skip stop avoid"
)
QUESTION_WORDS = _words("how why who what when where which whose whether")
QUESTION_FOLLOWERS = _words(
    "to do does did can could should would is are was were has have had will i you we one it "
    "happens happened the a many much often long"
)
# `when` and `where` also open a condition: only a verb's helper makes them a question.
CONDITIONAL_OPENERS = _words("when where what")
HELPERS = _words("do does did can could should would is are was were has have had will to happens")
OPENING_HELPERS = _words(
    "is are was were am do does did has have had can could should may must will would isn't "
    "aren't wasn't weren't hasn't haven't"
)
NEVER_A_WISH = _words("is are was were am did does has had isn't aren't wasn't hasn't haven't")
LIFTS = _words("please pls plz then kindly")
JOINERS = _words("and then but plus or nor so")
# Before `to`, `for` or `of` plus a verb these make it a description: `steps to delete`.
INSTRUCTIONS = _words(
    "way ways steps step guide guidelines instructions instruction command option button "
    "permission permissions ability procedure process tutorial documentation docs rules policy "
    "used method methods api endpoint function reason reasons risk risks"
)
# After a noun that may be a verb these make it the first half of a compound.
COMPOUND_HEADS = _words(
    "history log logs policy policies status statuses date dates schedule fee fees conflict "
    "conflicts address addresses thread threads candidate candidates process procedure "
    "procedures rate rates key button buttons time times amount amounts details detail data "
    "statistics stats metrics trend trends total totals summary list lists feature features "
    "option options page pages function functions event events flow flows pipeline pipelines"
    " request requests record records report reports number numbers notes note info"
)
NOUN_COMPOUNDS = frozenset(
    {
        ("release", "notes"), ("release", "note"), ("release", "date"), ("release", "dates"),
        ("release", "schedule"), ("release", "candidate"), ("release", "plan"),
        ("merge", "conflict"), ("merge", "conflicts"), ("merge", "sort"), ("merge", "request"),
        ("merge", "requests"), ("email", "address"), ("email", "addresses"), ("email", "thread"),
        ("email", "threads"), ("mail", "thread"), ("refund", "policy"), ("refund", "status"),
        ("transfer", "fee"), ("transfer", "fees"), ("transfer", "history"),
        ("update", "history"), ("order", "status"), ("order", "history"), ("pay", "slip"),
        ("post", "office"), ("change", "log"), ("change", "history"), ("deploy", "status"),
        ("deploy", "log"), ("deploy", "logs"), ("book", "title"), ("message", "history"),
        ("text", "file"), ("build", "status"), ("build", "log"), ("build", "logs"),
        ("push", "notification"), ("push", "notifications"), ("open", "source"),
        ("commit", "history"), ("commit", "log"), ("commit", "message"), ("order", "of"),
    }
)  # fmt: skip
SUBJECTS = _words("it he she agent bot system assistant service script job everyone someone")
BEFORE_WANTED_GERUND = _words(
    "before after by while start begin then and keep continue finish proceed try with consider"
)
WISHES = _words(
    "want need have get make ensure sure like require expect wish needs wants making getting"
)
AFTER_PASSIVE = _words(
    "now today tomorrow immediately asap please right from in on at by before after to and or "
    "within as too also again tonight this when until via if because"
)
UNITS = _words(
    "day days week weeks month months year years hour hours minute minutes second seconds "
    "percent am pm mb gb kb tb px times st nd rd th k"
)
NUMBERS: dict[str, int] = {
    word: value
    for value, word in enumerate(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"], start=1
    )
}
ALL = _words("all every everything each entire whole")
EXCEPTIONS = _words("except excluding besides")
# Words of text the agent writes itself: to `write a summary` changes nothing.
WRITINGS = _words(
    "summary summaries overview analysis explanation comparison outline poem haiku story essay "
    "joke function regex query sentence paragraph translation answer list sense sure suggestion "
    "suggestions recommendation recommendations difference introduction example examples idea"
)
