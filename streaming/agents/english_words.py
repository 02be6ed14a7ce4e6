"""The English words of the built-in agent that are no verbs: nouns and the small words."""

from __future__ import annotations

from streaming.agents.english_verbs import with_s
from streaming.agents.vocabulary import OBJECTS, word_set


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
DEED_OBJECTS = frozenset(NOUNS[noun] for noun in DEED_NOUNS if noun in NOUNS)
# What is run without an effect.
HARMLESS_RUNS = word_set(
    "test tests search query queries check checks analysis report reports numbers comparison "
    "benchmark benchmarks simulation lint linter scan diagnostics out"
)
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


DETERMINERS = word_set(
    "the a an this that these those my your our their its his her each every any some no all "
    "last latest recent next previous new another which whose what how many few several"
)
ARTICLES = word_set("the a an my our your their his her this that these those")
PREPOSITIONS = word_set(
    "of for from in on by with about at via after before since until into onto per during "
    "regarding under over between through within against toward towards as than like without"
)
PRONOUNS = word_set(
    "it them those these this that everything ones anything something him her me us"
)
# Before a verb these say that it is wanted.
LEADS = word_set(
    "please pls plz kindly to can could will would should shall must may might you we i they "
    "let's lets us go help now just then also always first finally next again immediately need "
    "do ok okay yes and i'll we'll you'll i'd gonna wanna gotta better dont hey hi asap"
)
ADVERBS = word_set("also just then now again first finally always kindly please please, soon back")
NEGATORS = word_set(
    "don't dont don’t never cannot can't cant won't wont shouldn't mustn't doesn't didn't couldn't "
    "wouldn't needn't neither nor without avoid nobody"
)
# These negate only with the word before them: `do not`, but not `is not needed`.
AUXILIARIES = word_set(
    "do does did should must can could will would shall may might need please to but i we you"
)
# `avoid` and the like: a negation when a gerund follows.
REFRAINING = word_set("stop skip prevent quit avoid no cease nothing none")
NO_NEGATION_BEFORE = word_set(
    "forget hesitate fail neglect only just mind omit miss wait worry skip stop avoid"
)
QUESTION_WORDS = word_set("how why who what when where which whose whether")
QUESTION_FOLLOWERS = word_set(
    "to do does did can could should would is are was were has have had will i you we one it "
    "happens happened the a many much often long"
)
# `when` and `where` also open a condition: only a verb's helper makes them a question.
CONDITIONAL_OPENERS = word_set("when where what")
HELPERS = word_set(
    "do does did can could should would is are was were has have had will to happens"
)
OPENING_HELPERS = word_set(
    "is are was were am do does did has have had can could should may must will would isn't "
    "aren't wasn't weren't hasn't haven't"
)
NEVER_A_WISH = word_set("is are was were am did does has had isn't aren't wasn't hasn't haven't")
ALWAYS_ASKING = word_set("did does has was were")
QUESTION_OPENERS = QUESTION_WORDS | OPENING_HELPERS | NEVER_A_WISH | {"before"}
OFFERS = word_set("can could will would")
AFTER_HELPERS = word_set("not you i we")
LIFTS = word_set("please pls plz then kindly")
JOINERS = word_set("and then but plus or nor so")
# Before `to`, `for` or `of` plus a verb these make it a description: `steps to delete`.
# Programs that a command begins with: `git push`, `kubectl delete pod x`.
PROGRAMS = word_set("git gh kubectl docker helm npm terraform aws sudo pip apt systemctl")
INSTRUCTIONS = word_set(
    "way ways steps step guide guidelines instructions instruction command option button "
    "permission permissions ability procedure process tutorial documentation docs rules policy "
    "used method methods api endpoint function reason reasons risk risks"
)
# After a noun that may be a verb these make it the first half of a compound.
COMPOUND_HEADS = word_set(
    "history log logs policy policies status statuses date dates schedule fee fees conflict "
    "conflicts address addresses thread threads candidate candidates process procedure "
    "procedures rate rates key button buttons time times amount amounts details detail data "
    "statistics stats metrics trend trends total totals summary list lists feature features "
    "option options page pages function functions event events flow flows pipeline pipelines"
    " request requests record records report reports number numbers notes note info"
)
NOUN_COMPOUNDS = frozenset(
    (first, second)
    for first, seconds in {
        "book": "title",
        "build": "status log logs",
        "change": "log history",
        "commit": "history log message",
        "deploy": "status log logs",
        "email": "address addresses thread threads about from summary list",
        "mail": "thread about from summary list",
        "merge": "conflict conflicts sort request requests",
        "message": "history about list",
        "open": "source",
        "order": "status history list summary from of",
        "pay": "slip",
        "post": "office",
        "push": "notification notifications",
        "refund": "policy status list history amount",
        "release": "notes note date dates schedule candidate plan history",
        "text": "file",
        "transfer": "fee fees history list",
        "update": "history about log",
    }.items()
    for second in seconds.split()
)
SUBJECTS = word_set("it he she agent bot system assistant service script job everyone someone")
BEFORE_WANTED_GERUND = word_set(
    "before after by while start begin then and keep continue finish proceed try with consider"
)
WISHES = word_set(
    "want need have get make ensure sure like require expect wish needs wants making getting"
)
AFTER_PASSIVE = word_set(
    "now today tomorrow immediately asap please right from in on at by before after to and or "
    "within as too also again tonight this when until via if because"
)
UNITS = word_set(
    "day days week weeks month months year years hour hours minute minutes second seconds "
    "percent am pm mb gb kb tb px times st nd rd th k"
)
_COUNTED = "one two three four five six seven eight nine ten eleven twelve"
NUMBERS = {word: value for value, word in enumerate(_COUNTED.split(), start=1)}
ALL = word_set("all every everything each entire whole")
EXCEPTIONS = word_set("except excluding besides")
# Words of text the agent writes itself: to `write a summary` changes nothing.
# Before a hyphen these leave a verb what it is: auto-delete, but not un-delete.
PREFIXES = word_set("re auto force hard soft bulk batch mass")
WRITINGS = word_set(
    "list summary summaries overview analysis explanation comparison outline poem haiku story "
    "essay suggestion joke function regex query sentence paragraph translation answer "
    "suggestions recommendation recommendations difference introduction example examples idea"
)
# Between a negation and its verb these may stand last: `don't want you to delete`.
AFTER_NEGATIONS = LEADS | word_set("not ever even try dare want have like about")
NEGATED_OFFERS = word_set("can't couldn't won't wouldn't cannot")
# After a verb these say that nothing is done: `delete nothing`, `send no mails`.
NOTHING = word_set("nothing none no")
CONDITIONS = word_set("if unless because since while")
NEGATING_PAIRS = frozenset(
    {("instead", "of"), ("rather", "than"), ("refrain", "from"), ("no", "need")}
)
# A line that ends with one of these was broken inside `do not / delete`.
BEFORE_BREAKS = word_set("not don't never without")
# After a word that may be a noun these make it one: `payment and refund for March`.
AFTER_NOUNS = word_set("for in of from by during per")
NOT_BEFORE_PASSIVES = DETERMINERS | word_set("have has had i you we been")
# After a word that may be a noun these make it a verb, whatever stands before it.
CERTAIN_OBJECTS = NUMBERS.keys() | word_set("the a an my your our all it them everything pr prs #")
OBJECT_STARTS = DETERMINERS | PRONOUNS | NUMBERS.keys() | NOUNS.keys() | {"#"}
