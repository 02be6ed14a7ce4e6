"""Tells from its ending what a Korean verb means: a wish, a description, a question, a no."""

from __future__ import annotations

from typing import NamedTuple

from streaming.agents.finding import Outcome
from streaming.agents.korean_words import opened

ACT, HELD, DESCRIBED = Outcome.ACT, Outcome.HELD, Outcome.DESCRIBED

# Marks in what follows an ending: `.` closes the sentence or line, `,` joins.
END = "."


class _Ending(NamedTuple):
    """An ending's usual outcome, and others where certain words come next."""

    begins: str
    outcome: Outcome
    followed: tuple[tuple[tuple[str, ...], Outcome], ...] = ()


_NO = ("마", "말", "않", "못", "맙", "아니")
_NOT_ALLOWED = ("안", "못", "아니")
_GOOD = ("좋", "감사", "고맙", "고마", "됩니다.", "돼.", "돼요.", "되겠", "될것같")
_ASKS = (
    "되나",
    "될까",
    "되는지",
    "됩니까",
    "괜찮을까",
    "괜찮나",
    "돼?",
    "돼요?",
    "되요?",
    "되?",
    "괜찮아?",
    "괜찮아요?",
    "하나",
    "할까",
    "할지",
    "하는지",
    "합니까",
    "해?",
    "해요?",
    "할필요",
)

# The longest beginning that fits decides, so the table is sorted by length below.
_TABLE = (
    _Ending("지", ACT, (
        (("않으면안", "않을수없", "않으면"), ACT),
        ((*_NO, *(f"{particle}{no}" for particle in "도는를만" for no in _NO), "진마", "않"), HELD),
    )),
    _Ending("지도", HELD),
    _Ending("지는", DESCRIBED, ((_NO, HELD),)),
    _Ending("지면", DESCRIBED),
    _Ending("진", DESCRIBED, ((_NO, HELD),)),
    _Ending("졌", DESCRIBED),
    _Ending("져", DESCRIBED),
    _Ending("온", DESCRIBED),
    _Ending("왔", DESCRIBED),
    _Ending("오는", DESCRIBED),
    _Ending("ㄴ", DESCRIBED, ((("후기",), DESCRIBED), (("후", "뒤", "다음"), ACT),)),
    _Ending("ㄴ다", ACT),
    _Ending("ㄴ다면", DESCRIBED),
    _Ending("ㄴ다고", DESCRIBED),
    _Ending("ㄴ가", HELD),
    _Ending("ㄹ", DESCRIBED, (
        (("수있는", "수있을지", "수있었", "수없"), DESCRIBED),
        (("수있", "것.", "것,", "거예요", "거야", "것입니다", "예정입니다", "예정이야"), ACT),
    )),
    _Ending("ㄹ까", HELD),
    _Ending("ㄹ지", HELD),
    _Ending("ㄹ게", ACT),
    _Ending("ㄹ께", ACT),
    _Ending("ㄹ래", ACT),
    _Ending("ㄹ것", ACT, ((("들", "으로", "을", "이"), DESCRIBED),)),
    _Ending("ㅂ", ACT),
    _Ending("ㅂ니까", HELD),
    _Ending("ㅁ", DESCRIBED, (((END, ",", "?"), ACT),)),
    _Ending("ㅆ", DESCRIBED),
    _Ending("ㅆ으면", DESCRIBED, ((("좋", "하", "해", "합", "싶"), ACT),)),
    _Ending("였", DESCRIBED),
    _Ending("면서", ACT),
    _Ending("면", DESCRIBED, ((("안", "못"), HELD), (_GOOD, ACT))),
    _Ending("려면", DESCRIBED),
    _Ending("려는", DESCRIBED),
    _Ending("려던", DESCRIBED),
    _Ending("는", DESCRIBED, ((("게좋", "것이좋", "편이좋", "걸로", "것으로"), ACT),)),
    _Ending("는지", DESCRIBED),
    _Ending("는가", HELD),
    _Ending("는데", ACT),
    _Ending("던", DESCRIBED),
    _Ending("더", DESCRIBED),
    _Ending("나", HELD),
    _Ending("니", HELD),
    _Ending("니까", DESCRIBED),
    _Ending("냐", HELD),
    _Ending("느냐", HELD),
    _Ending("기", DESCRIBED, (
        ((END, ",", "바", "를바", "를부탁", "부탁", "위해", "로", "만하면", "를원"), ACT),
    )),
    _Ending("길", DESCRIBED, ((("바", "부탁", "원"), ACT),)),
    _Ending("고", ACT, (
        (("싶지않", "싶지는않"), HELD),
        (("있는", "있던", "있었", "있나", "있습니", "있어?", "있지", "싶은지"), DESCRIBED),
    )),
    _Ending("도", ACT, ((_NOT_ALLOWED, HELD), (("되는지", "되는가"), HELD),
                       (("되는", "될만", "괜찮은"), DESCRIBED), (_ASKS, HELD))),
    _Ending("도록", ACT, ((("하지마", "하지말", "하지않"), HELD),)),
    _Ending("야", ACT, (
        (("하는데",), ACT),
        (_ASKS, HELD),
        (("하는", "할", "되는", "될", "했", "하지않"), DESCRIBED),
    )),
    _Ending("서", ACT, ((("는안", "는아니", "는못", "도안"), HELD),)),
    _Ending("선", ACT, ((_NOT_ALLOWED, HELD),)),
    _Ending("자마자", DESCRIBED),
    _Ending("다가", DESCRIBED),
    _Ending("줘도", ACT, ((_NOT_ALLOWED, HELD), (_ASKS, HELD))),
    _Ending("줘서", DESCRIBED),
    _Ending("줘", ACT),
    _Ending("주면", ACT, ((_NOT_ALLOWED, HELD),)),
    _Ending("주시면", ACT, ((_NOT_ALLOWED, HELD),)),
    _Ending("세요", ACT),
    _Ending("셔", ACT),
    _Ending("실래", ACT),
    _Ending("실수있", ACT),
    _Ending("시겠", ACT),
    _Ending("십니까", HELD),
    _Ending("십시", ACT),
    _Ending("셨", DESCRIBED),
)  # fmt: skip
_LONGEST = max(len(ending.begins) for ending in _TABLE)
_ENDINGS = {ending.begins: ending for ending in _TABLE}
# Auxiliaries and the honorific: what is written after them decides.
_CARRIERS = (
    "드리",
    "드려",
    "버리",
    "버려",
    "주",
    "줘",
    "놓",
    "놔",
    "두",
    "둬",
    "보",
    "봐",
    "시",
    "어",
    "아",
    "으",
)
AUXILIARIES = (
    "줘",
    "주",
    "드려",
    "드리",
    "드릴",
    "버려",
    "버리",
    "놓",
    "놔",
    "두",
    "둬",
    "보",
    "봐",
    "준",
    "줄",
    "줬",
    "봤",
    "달라",
)


def mood(ending: str, following: str) -> Outcome:
    """Return what `ending` makes of a verb, given what follows it without its spaces.

    The closing consonant that an ending put under the stem comes first, as a letter: 삭제한
    is the ending `ㄴ`. An ending that is not known is a wish.
    """
    for _ in range(4):
        known = _known(ending)
        if known is not None:
            rest = ending[len(known.begins) :] + following
            for begins, outcome in known.followed:
                if rest.startswith(begins):
                    return outcome
            return known.outcome
        shorter = _carried(ending)
        if shorter is None:
            break
        ending = shorter
    return ACT


def _known(ending: str) -> _Ending | None:
    for length in range(min(_LONGEST, len(ending)), 0, -1):
        if (known := _ENDINGS.get(ending[:length])) is not None:
            return known
    return None


def _carried(ending: str) -> str | None:
    """Return what is written after an auxiliary at the beginning of `ending`: 주지 → 지."""
    for carrier in _CARRIERS:
        written = ending[: len(carrier)]
        if len(written) == len(carrier):
            last, closing = opened(written[-1])
            if written[:-1] + last == carrier:
                return closing + ending[len(carrier) :]
    return None
