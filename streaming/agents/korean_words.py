"""The Korean words of the built-in agent: verb stems, nouns and the small words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from streaming.agents.finding import Needs
from streaming.agents.vocabulary import OBJECTS, word_set

# Nouns that become verbs with 하다: 삭제 → 삭제해줘.
_VERBAL_NOUNS = {
    "add": "추가",
    "approve": "승인 결재",
    "archive": "보관 아카이브",
    "assign": "배정 할당",
    "backup": "백업",
    "block": "차단",
    "book": "예약",
    "buy": "구매 구입 주문 발주",
    "cancel": "취소 해지 철회 탈퇴",
    "charge": "청구 과금",
    "close": "마감",
    "commit": "커밋",
    "copy": "복사 복제",
    "create": "생성 작성 개설 발급 신설 등록",
    "delete": "삭제 폐기 말소 파기",
    "deploy": "배포 디플로이 반영",
    "disable": "비활성화",
    "enable": "활성화",
    "export": "반출",
    "grant": "부여",
    "install": "설치",
    "invite": "초대",
    "merge": "병합 머지",
    "move": "이동 이관",
    "pay": "결제 지불 납부 지급",
    "publish": "게시 발행 공개 게재",
    "push": "푸시 푸쉬",
    "refund": "환불 환급",
    "reject": "거절 반려 거부",
    "release": "릴리스 릴리즈 출시",
    "remove": "제거",
    "reset": "초기화 리셋",
    "restart": "재시작 재기동 재부팅",
    "restore": "복구 복원",
    "revoke": "회수",
    "rollback": "롤백 원복",
    "run": "실행 구동",
    "save": "저장",
    "send": "발송 전송 송부 전달 회신 답장 답신 포워딩 통보",
    "share": "공유",
    "sign": "서명",
    "start": "가동 기동",
    "stop": "중지 중단 종료 정지",
    "submit": "제출 신청",
    "subscribe": "구독 가입",
    "transfer": "송금 이체 출금 인출 입금",
    "uninstall": "언인스톨",
    "update": "수정 변경 업데이트 갱신 교체 편집 패치",
    "upload": "업로드",
}
_VERBAL_READINGS = {
    "analyze": "리뷰 분석 비교 검토 집계 계산 파악 점검 평가 추정",
    "explain": "설명 추천 소개 안내",
    "list": "조회 확인 열람 출력 나열 표시",
    "search": "검색 탐색",
    "summarize": "요약 정리",
    "translate": "번역",
}
# Verbs of their own, by the forms of the stem that endings are written onto. Stems of one
# syllable stand with an ending already: 열 alone may as well be ten.
_STEMS = {
    "add": "담아 담고 넣어 넣고 달아 달고 남겨 남기",
    "block": "막아 막고",
    "close": "닫아 닫고",
    "create": "만들 만드 써줘 써주",
    "delete": "지우 지워 없애 비우 비워 날리 날려 버리 버려",
    "export": "내보내",
    "merge": "합치 합쳐",
    "move": "옮기 옮겨",
    "open": "열어 열고",
    "pay": "갚아 갚고",
    "refund": "환불받",
    "remove": "빼줘 빼주 떼어",
    "restore": "되살리 되살려",
    "rollback": "되돌리 되돌려",
    "run": "돌리 돌려",
    "send": "보내 부치 부쳐",
    "start": "띄우 띄워 켜줘 켜주 켜고",
    "stop": "꺼줘 꺼주 끄고 멈추 멈춰 내려줘 내려주",
    "transfer": "쏴줘 쏴주",
    "update": "바꾸 바꿔 고치 고쳐",
    "upload": "올리 올려",
}
_READING_STEMS = {
    "explain": "알려 가르쳐 말해",
    "list": "보여 읽어 살펴",
    "search": "찾아",
}
_NEEDS = {
    Needs.NOUN: "열어 열고 돌리 돌려 띄우 띄워 켜줘 켜주 켜고 꺼줘 꺼주 끄고 내려줘 내려주 막아 "
    "막고 담아 담고 떼어 빼줘 빼주 쏴줘 쏴주 버리 버려 날리 날려 멈추 멈춰 넣어 넣고 달아 "
    "달고 남겨 남기 닫아 닫고 써줘 써주 부치 부쳐 실행 구동 작성 신청 반영",
    Needs.TARGET: "바꾸 바꿔 고치 고쳐 올리 올려 옮기 옮겨",
}

_CLOSING = {4: "ㄴ", 8: "ㄹ", 16: "ㅁ", 17: "ㅂ", 20: "ㅆ"}
_FIRST_SYLLABLE, _SYLLABLES, _CLOSINGS = 0xAC00, 11_172, 28


def opened(syllable: str) -> tuple[str, str]:
    """Split a syllable into its open form and the closing an ending brought: 한 → 하, ㄴ."""
    index = ord(syllable) - _FIRST_SYLLABLE
    if not 0 <= index < _SYLLABLES or (closing := index % _CLOSINGS) not in _CLOSING:
        return syllable, ""
    return chr(ord(syllable) - closing), _CLOSING[closing]


def is_open(syllable: str) -> bool:
    """Tell whether a Hangul syllable has no closing consonant."""
    return (ord(syllable) - _FIRST_SYLLABLE) % _CLOSINGS == 0


class Stem(NamedTuple):
    """A surface by which a verb begins; `closing` is the consonant an ending put under it."""

    verb: str
    is_noun: bool
    is_reading: bool
    needs: Needs
    closing: str = ""


def _stems() -> dict[str, Stem]:
    needs = {word: needs for needs, words in _NEEDS.items() for word in words.split()}
    stems: dict[str, Stem] = {}
    for table, is_noun, is_reading in (
        (_VERBAL_NOUNS, True, False),
        (_VERBAL_READINGS, True, True),
        (_STEMS, False, False),
        (_READING_STEMS, False, True),
    ):
        for verb, words in table.items():
            for word in words.split():
                stem = Stem(verb, is_noun, is_reading, needs.get(word, Needs.NOTHING))
                stems[word] = stem
                if not is_noun and is_open(word[-1]):
                    for offset, closing in _CLOSING.items():
                        surface = word[:-1] + chr(ord(word[-1]) + offset)
                        stems.setdefault(surface, stem._replace(closing=closing))
    return stems


STEMS = _stems()
_BY_FIRST: dict[str, list[str]] = {}
for _surface in sorted(STEMS, key=len, reverse=True):
    _BY_FIRST.setdefault(_surface[0], []).append(_surface)


def stems_in(text: str) -> Iterator[tuple[int, str]]:
    """Yield where stems begin in a word of Hangul: the longest, and none inside another."""
    position = 0
    while position < len(text):
        for surface in _BY_FIRST.get(text[position], ()):
            if text.startswith(surface, position):
                yield position, surface
                position += len(surface) - 1
                break
        position += 1


NOUNS: dict[str, str] = {
    word: name for name, (_, words) in OBJECTS.items() for word in words.split()
}
_LONGEST_NOUN = max(map(len, NOUNS))
# What may be written before a verbal noun without making another word of it.
PREFIXES = word_set(
    "재 전체 일괄 자동 즉시 강제 영구 완전 긴급 모두 전부 다 싹 바로 좀 꼭 지금 다시"
)
# A name and a thing that begin like a verb.
NOT_VERBS = ("지우개", "지우에게", "지우가", "지우를", "지우의", "지우한테", "비우스")

_PARTICLES = sorted(
    word_set(
        "을 를 은 는 이 가 의 에 에게 께 한테 에서 에서는 으로 로 와 과 랑 이랑 하고 도 만 만을 "
        "부터 까지 들 들을 들은 들이 들의 들도 들만 들에게 들과 들에서 에는 이나 나 처럼 보다 "
        "이라는 라는 함 별 번호"
    ),
    key=lambda particle: (-len(particle), particle),
)
OBJECT_PARTICLES = ("을", "를", "들을", "만을")
BARE_PARTICLES = ("", "은", "는", "도", "만", "들", "들은", "들도", "들만", "번호")
JOINING_PARTICLES = ("와", "과", "랑", "이랑", "하고", "들과", "이나", "나")
# How the object is found: whether it is a noun, and its particle. Marked, bare, by its means
# (메일로 보내줘), or at last as the subject.
WAYS_TO_OBJECTS = (
    (True, OBJECT_PARTICLES),
    (True, BARE_PARTICLES),
    (False, OBJECT_PARTICLES),
    (False, BARE_PARTICLES),
    (True, ("로", "으로")),
    (True, ("이", "가", "들이")),
)


def noun(word: str) -> tuple[str, str] | None:
    """Return the object that `word` ends with and its particle: 스팸메일을 → mail, 을."""
    for particle in ("", *_PARTICLES):
        if not word.endswith(particle):
            continue
        bare = word[: len(word) - len(particle)]
        for length in range(min(_LONGEST_NOUN, len(bare)), 0, -1):
            known = NOUNS.get(bare[-length:])
            # Short nouns end too many other words: 글 in 한글, 표 in 대표.
            if known is not None and (length > 1 or len(bare) == 1):
                return known, particle
    return None


COUNTERS = ("개", "건", "통", "명", "장", "권", "곳", "편", "줄", "부", "가지", "마리", "대", "매")
_COUNTED = "한/하나 두/둘 세/셋 네/넷 다섯 여섯 일곱 여덟 아홉 열 열한/열하나 열두/열둘"
COUNTS = {
    word: value
    for value, group in enumerate(_COUNTED.split(), start=1)
    for word in group.split("/")
}
COUNTED_PARTICLES = word_set("을 를 은 는 이 가 의 도 만 와 과 랑 하고 씩 씩을 정도 까지") | {""}
ALL_BEFORE = ("모든", "전체", "온갖")
ALL_AFTER = ("모두", "전부", "다", "싹", "싹다", "전체를", "몽땅", "죄다")
PRONOUNS = ("그것", "이것", "그거", "이거", "저것", "그걸", "이걸", "그것들", "이것들", "해당")
EXCEPTIONS = ("제외", "빼고", "말고", "외에")

# These ask by themselves; the others only where the sentence ends with a question mark.
PLAIN_QUESTIONS = ("어떻게", "왜")
QUESTION_WORDS = ("언제", "누가", "누구", "어디", "무엇", "뭐가", "뭐를", "뭘", "무슨")
NO_QUESTION_ENDS = ("든", "든지", "나", "이나", "도")
# After one of these endings a question inside the sentence is over: 왔는지 보고 삭제해줘.
QUESTION_ENDS = ("지", "고", "서", "든", "든지", "도")
FILLERS = word_set("좀 바로 지금 즉시 꼭 다시 먼저 모두 전부 다 도 일괄 한번")
JOINERS = word_set("및 와 과 그리고 또는 혹은 이나")
AFTERWARDS = word_set("후 후에 뒤 뒤에 이후 이후에")
# `그리고` and its like part two wishes; a verb before one is not ruled by a verb after it.
CLAUSE_OPENERS = word_set("그리고 그다음 그런 그런데 또 하지만 그래서 이후")
# Texts the agent writes itself: to make one changes nothing.
WRITINGS = ("요약", "답변", "설명", "예시", "시를", "이야기", "소설", "문장", "번역", "비교표")
