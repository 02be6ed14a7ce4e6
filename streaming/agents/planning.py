"""Makes the steps of a plan from the verbs of a prompt: their objects and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streaming.agents import english_objects, english_words, korean_objects, korean_words
from streaming.agents.finding import REFERRED, Finding, Needs, Outcome, Target
from streaming.agents.parameters import parameters, shortened
from streaming.agents.spans import Span, spans
from streaming.agents.tokens import Kind, Token
from streaming.agents.vocabulary import OPENED, VERBS

# More than a person would follow is not planned, and the agent says so. Readings have a limit
# of their own: pasted text is full of them, and they must not crowd out an action.
MAX_ACTIONS = 20
MAX_READINGS = 5
_MAX_EXCERPT = 160
_WRITING_REACH = 8
_RUN_REACH = 4
# What a general verb means where money is its object: 돈을 돌려주세요.
_WITH_MONEY = {"send": "transfer", "run": "refund"}
_REMEMBERED = 60
# So many verbs of one sentence are dealt with at once: a longer plan is not made anyway.
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do. `verb` and `target` are names of `vocabulary`; reading changes nothing.

    `excerpt` are the words of the prompt that it was read from, at most 160 characters.
    """

    verb: str
    target: str
    is_action: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)
    excerpt: str = ""
    is_object_named: bool = True  # False where the object is the verb's usual one

    @property
    def name(self) -> str:
        """Return the action's type, `delete_mail`, or the reading tool's name, `search`."""
        return f"{self.verb}_{self.target}" if self.is_action else self.verb


class Plan:
    """The steps of a prompt's text, in order.

    `is_cut` says that the prompt asks for more, `is_full` that it need not be read further;
    `forborne` holds the verbs that it forbids or only asks about.
    """

    def __init__(self, text: str) -> None:
        self.steps: list[Step] = []
        self.is_cut = False
        self.is_full = False
        self.forborne: dict[str, None] = {}
        self._text = text
        self._last_object = ""
        self._has_object_here = False

    def add(self, sentence: Sequence[Token], found: Sequence[Finding]) -> None:
        """Add the steps of one sentence, given its verbs."""
        self._has_object_here = False
        if not found:
            self._remember(english_objects.targets_before(sentence[-_REMEMBERED:]))
            return
        first = 0
        for begin in range(0, len(found), _BATCH):
            rest = found[begin + _BATCH : begin + _BATCH + 1]
            last = rest[0].start if rest else len(sentence)
            self._add_batch(sentence, found[begin : begin + _BATCH], first, last)
            if self.is_full:
                break
            first = last

    def _add_batch(
        self, sentence: Sequence[Token], found: Sequence[Finding], first: int, last: int
    ) -> None:
        dealt = spans(sentence, found, first, last)
        complete = [span.finding for span in dealt if self._is_complete(span)]
        if len(complete) < len(dealt):
            dealt = spans(sentence, complete, first, last)
        for span in dealt:
            if span.finding.outcome is Outcome.HELD:
                self._forbear(span)
            else:
                self.extend(self._steps(span))
            if self.is_full:
                break

    def extend(self, steps: Iterable[Step]) -> None:
        """Add `steps` as far as they are not too many; nothing is read twice."""
        for step in steps:
            is_known = not step.is_action and self._has_reading(step)
            planned = sum(other.is_action is step.is_action for other in self.steps)
            if planned >= (MAX_ACTIONS if step.is_action else MAX_READINGS):
                self.is_cut = self.is_cut or not is_known
                self.is_full = self.is_full or step.is_action
            elif not is_known:
                self.steps.append(step)

    def _has_reading(self, step: Step) -> bool:
        return any(other.name == step.name and other.target == step.target for other in self.steps)

    # --- objects ----------------------------------------------------------------------

    def _forbear(self, span: Span) -> None:
        """Note what is not to be done, and the object a later `it` may mean."""
        if span.finding.verb in VERBS:
            self.forborne[span.finding.verb] = None
        self._remember(self._targets(span, span.argument))

    def _remember(self, targets: Sequence[Target]) -> str:
        for target in targets:
            if target.name not in {"", REFERRED}:
                self._last_object = target.name
                self._has_object_here = True
                return target.name
        return ""

    def _targets(self, span: Span, argument: Sequence[Token]) -> list[Target]:
        if span.finding.is_korean:
            return korean_objects.targets(argument)
        targets = [] if span.finding.is_passive else english_objects.targets(argument)
        is_told = targets and (targets[0].name != REFERRED or self._last_object)
        # `The old mails: delete them`
        return targets if is_told else english_objects.targets_before(span.before) or targets

    def _is_complete(self, span: Span) -> bool:
        """Tell whether the verb stands with what it needs to be an action (`Needs`)."""
        finding = span.finding
        if finding.outcome is Outcome.READ or finding.needs is Needs.NOTHING:
            return True
        targets = self._targets(span, span.argument)
        if finding.needs is Needs.DEED:
            return any(target.deed for target in targets)
        if finding.needs is Needs.NOUN:
            return any(_is_noun(target, finding) for target in targets)
        is_harmless = finding.verb == "run" and any(
            token.text in english_words.HARMLESS_RUNS for token in span.after[:_RUN_REACH]
        )
        return bool(targets) and not is_harmless

    # --- steps ------------------------------------------------------------------------

    def _steps(self, span: Span) -> Iterator[Step]:
        finding = span.finding
        objects = korean_objects if finding.is_korean else english_objects
        argument, excepted = objects.without_exception(span.argument)
        targets = self._targets(span, argument)
        left_alone = {token.start for token in excepted}
        tokens = [token for token in span.tokens if token.start not in left_alone]
        finding = self._judged_by_object(finding, argument, targets, tokens)
        if finding.outcome is Outcome.READ:
            yield Step(finding.verb, self._remember(targets), False, {}, self._excerpt(span))
            return
        extra = {}
        if excepted:
            extra["except"] = shortened(self._text[excepted[0].start : excepted[-1].end])
        for target in targets or [Target()]:
            verb, name, is_named = self._action(finding, target)
            told = {
                **_counted(target, name),
                **parameters(self._text, tokens, verb),
                **extra,
            }
            yield Step(verb, name, True, told, self._excerpt(span), is_named)

    def _judged_by_object(
        self,
        finding: Finding,
        argument: Sequence[Token],
        targets: Sequence[Target],
        tokens: Sequence[Token],
    ) -> Finding:
        """Mend what only the object tells: to write a summary reads, to tell kim@… sends."""
        if finding.verb == "open" and not any(target.name in OPENED for target in targets):
            return finding._replace(outcome=Outcome.READ, verb="list")
        if finding.verb == "create" and _is_writing(finding, argument, targets):
            return finding._replace(outcome=Outcome.READ, verb="write")
        if finding.outcome is not Outcome.READ:
            return finding
        if finding.names == "money" and any(token.kind is Kind.MONEY for token in tokens):
            return finding._replace(outcome=Outcome.ACT, verb="transfer")
        if finding.names == "notification":
            people = parameters(self._text, tokens, "send").get("recipients", ())
            if any("@" in person for person in people):
                return finding._replace(outcome=Outcome.ACT, verb="send")
        return finding

    def _action(self, finding: Finding, target: Target) -> tuple[str, str, bool]:
        """Return verb and object of an action, and whether the prompt names the object."""
        verb, name = finding.verb, finding.names or target.name
        if finding.is_light and target.deed:
            verb = target.deed
            name = "" if name in english_words.DEED_OBJECTS else name
        if name == "money":
            verb = _WITH_MONEY.get(verb, verb)
        usual = VERBS[verb].usual_object
        if name == REFERRED or (not name and usual == "item" and self._has_object_here):
            name = self._last_object  # `find the old mails to delete`
        if name == "money" and verb != "transfer":
            name = ""
        is_named = bool(name)
        name = name or usual
        self._last_object, self._has_object_here = name, name != "item"
        return verb, name, is_named

    def _excerpt(self, span: Span) -> str:
        return shortened(self._text[span.start : span.end], _MAX_EXCERPT)


def _counted(target: Target, name: str) -> dict[str, Any]:
    """Return how many of the object there are, unless another thing was counted."""
    counted: dict[str, Any] = {}
    if target.how_many is not None and name == (target.name or name):
        counted["count"] = target.how_many
    if target.is_all:
        counted["all"] = True
    return counted


def _is_noun(target: Target, finding: Finding) -> bool:
    if target.deed:
        return True
    # `make it short` makes nothing.
    return bool(target.name) and (target.name != REFERRED or finding.verb != "create")


def _is_writing(finding: Finding, argument: Sequence[Token], targets: Sequence[Target]) -> bool:
    """Tell whether what is created is only text of the answer: `write a summary`."""
    if finding.is_korean:
        return not any(target.name for target in targets) and any(
            token.text.startswith(korean_words.WRITINGS) for token in argument[-_WRITING_REACH:]
        )
    is_named = any(
        target.name and not (target.name == "list" and finding.needs is Needs.NOUN)
        for target in targets
    )
    return not is_named and any(
        token.text in english_words.WRITINGS for token in argument[:_WRITING_REACH]
    )
