"""Which texts are the same once they are folded, and which characters imitate others."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hitl.text import imitation, lookalikes

CHARACTERS = st.characters() | st.sampled_from("aAlI1oOрПуюӀіοσµıİßæﬁａ각결ᄀ\u3164ñ")


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("PAY_Invoice", "pay_invoice"),
        ("ｐａｙ＊", "pay*"),
        ("pay\u200b\u202e\ufe0f\u034f\u3164_\u2800x", "pay_x"),
        ("a\u00a0\u2003 b", "a b"),
        ("Straße", "strasse"),
        ("İı", "iı"),
        ("i\u0307", "i"),
        ("ﬁ", "fi"),
        ("\u1112\u1161\u11ab", "한"),
        ("메일 삭제", "메일 삭제"),
        ("рay", "рay"),
        ("🅿🅰🆈", "pay"),
        ("🅟🅐🅨", "pay"),
        ("⒫⒜🄨", "pay"),
        ("🇵🇦🇾", "pay"),
        ("🆔 ❶⓿⑫⑴", "id 1012(1)"),
        ("se\U0001d159nd", "send"),
    ],
)
def test_text_is_folded(text: str, folded: str) -> None:
    assert lookalikes.fold(text) == folded


@settings(deadline=None)
@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    folded = lookalikes.fold(text)

    assert lookalikes.fold(folded) == folded
    assert lookalikes.fold(text.upper()) == lookalikes.fold(text.upper().casefold())


def test_every_character_folds_to_an_end() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        if (folded := lookalikes._fold_once(character)) != character:
            assert lookalikes._fold_once(lookalikes.fold(folded)) == lookalikes.fold(folded)


@settings(deadline=None)
@given(CHARACTERS, CHARACTERS)
def test_characters_are_alike_in_both_directions_and_like_themselves(one: str, other: str) -> None:
    assert lookalikes.are_alike(one, one)
    assert lookalikes.are_alike(one, other) is lookalikes.are_alike(other, one)


def test_ascii_characters_are_like_themselves_alone() -> None:
    ascii_characters = [chr(code) for code in range(128)]

    for one in ascii_characters:
        assert [other for other in ascii_characters if lookalikes.are_alike(one, other)] == [one]
        assert not lookalikes.spellings(one)


@pytest.mark.parametrize(
    ("one", "others"),
    [
        ("р", "p"),
        ("ӏ", "l1i"),
        ("о", "o0"),
        ("ο", "oоօ"),
        ("в", "b"),
        ("ı", "i"),
        ("ɑ", "aα"),
        ("ー", "一"),
        ("ᴛ", "tт"),
    ],
)
def test_letter_of_another_script_is_like_each_that_it_looks_like(one: str, others: str) -> None:
    for other in others:
        assert lookalikes.are_alike(one, other), other


@pytest.mark.parametrize("letter", "ABCDEFGHIJKLMNOPQRSTUVWYZ")  # there is none of X
def test_small_capital_is_like_its_letter(letter: str) -> None:
    character = unicodedata.lookup(f"LATIN LETTER SMALL CAPITAL {letter}")

    assert lookalikes.are_alike(lookalikes.fold(character), letter.lower())


@pytest.mark.parametrize(
    "letters", ["кроасит", "σομεαβγηκ", "가각갸결경제재", "äöüaou", "ñn", "éèêe", "çc", "øo", "łl"]
)
def test_letters_of_one_language_stay_apart(letters: str) -> None:
    alike = [
        (one, other)
        for one in letters
        for other in letters
        if one != other and lookalikes.are_alike(one, other)
    ]

    assert alike == []


@pytest.mark.parametrize(
    ("text", "imitated"),
    [
        ("рay_invoice", {"р": "p"}),
        ("рау_invoice", {"р": "p", "а": "a", "у": "y"}),
        ("ｐay", {"ｐ": "p"}),
        ("𝐩ay", {"𝐩": "p"}),
        ("pаyé", {"а": "a"}),
        ("pay_ınvoice", {"ı": "i"}),
        ("pay_vӀ", {"Ӏ": "l, i, 1"}),
        ("결제_рay", {"р": "p"}),
        ("ᴘᴀʏ_x", {"ᴘ": "p", "ᴀ": "a", "ʏ": "y"}),
        ("🅿🅰🆈_x", {"🅿": "P", "🅰": "A", "🆈": "Y"}),
        ("⒫ay", {"⒫": "P"}),
        ("pꜽ_x", {"ꜽ": "ay"}),
        ("lӕs", {"ӕ": "ae"}),
        ("p\u0323ay1\u20dd", {"p\u0323": "p"}),
    ],
)
def test_imitating_letters_are_named(text: str, imitated: dict[str, str]) -> None:
    assert imitation.in_name(text) == imitated


@pytest.mark.parametrize(
    "text",
    [
        "pay_invoice",
        "메일 삭제",
        "API_삭제2",
        "Rechnung löschen – größer",
        "supprimer_l’élève",
        "отправить_email",
        "メールを削除API",
        "删除二〇二六",
        "διαγραφή",
        "ลบอีเมล",
        "✉️ senden 1️⃣",
        "slet_læsning",
        "œuvre_de_cœur",
        "phê_duyệt_thanh_toán",
        "phe\u0302_duye\u0323\u0302t",
        "ödeme_gönder_işlem",
        "İPTAL".lower(),
        "сыр_люблю",
        "мӕн",
    ],
)
def test_ordinary_words_of_any_language_imitate_nothing(text: str) -> None:
    assert imitation.in_name(text) == {}


def test_importing_reads_no_data() -> None:
    code = "import sys, hitl.text.lookalikes; print('confusable_homoglyphs' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def letters(text: str) -> str:
    """Return the letters of a running text that deceive."""
    return "".join(text[place] for place, _like in imitation.in_text(text))


@pytest.mark.parametrize(
    ("text", "deceptive"),
    [
        ("аdmin", "а"),
        ("Ask the аdmin of рaypal.com", "ар"),
        ("аррӏе.com", "аррӏе"),
        ("аррӏе", "аррӏе"),
        ("Отправить на аррӏе.com", "аррӏе"),
        ("관리자 аdmin에게", "а"),
        ("pɑy", "ɑ"),
        ("𝐩ay", "𝐩"),
        ("ρaypal", "ρ"),
        ("Send to https://х.com/pay now", "х"),
        ("Отправить на https://х.com/", "х"),
        ("kim@α.com", "α"),
        ("а = 1", "а"),
        ("Переменная: а = 1", "а"),
        ("1О00 EUR", "О"),
        ("Счёт на 1ОО EUR", "ОО"),
        ("𝖺𝖽𝗆𝗂𝗇", "𝖺𝖽𝗆𝗂𝗇"),
        ("𝚛𝚖 -rf /", "𝚛𝚖"),
        ("𝟣𝟢𝟢𝟢", "𝟣𝟢𝟢𝟢"),
        ("rm x\u037e rm y", "\u037e"),
        ("bank\u2024com", "\u2024"),
        ("rm -rf .\u2215etc \u2044usr", "\u2215\u2044"),
        ("https\u2236//x", "\u2236"),
        ("run\u01c3", "\u01c3"),
        ("rm \u2010rf", "\u2010"),
        ("p\u0323ay", "p"),
        ("a\u0338b", "a"),
        ("перевод (host расе)", "расе"),
        ("Pay to СОРЕ ж", "СОРЕ"),
        ("Переведите на https://сор.ru/", "сор"),
    ],
)
def test_letters_that_imitate_in_a_running_text_are_placed(text: str, deceptive: str) -> None:
    assert letters(text) == deceptive


@pytest.mark.parametrize(
    "text",
    [
        "Отправить письмо с файлом о сроке, а не сразу. Рост рос.",
        "Στείλε το μήνυμα στον πελάτη",
        "Rechnung für „Müller“ – größer als 5 m², 10⁶ kΩ, 3 μs",
        "α-helix, γ-ray, β1",
        "için yardım, phê duyệt, œuvre, conﬁrm",
        "メールを削除API、ＡＢＣ１２３、㎏",
        "메일 3통을 삭제할까요?",
        "API_삭제2 한글English",
        "ابحث عن الملف",
        "①②③ ✓ ⚠️ 👩‍💻",
        "Подключение к API с Redis, а не с AWS; он у нас. Отправить PDF-а и SMS-у сразу на сервер.",
        "ОС Linux обновлена, формат А4, 2х2, 10А, 7б класс, О2",
        "текст",
        "95 р.",
        "Перезапустить сервер номер 5 в EU?",
        "ναι",
        "Τι κάνεις\u037e Αυτό είναι ένα κείμενο με API και Redis.",
        "TNF-α/IL-6, f(α) = 2, x̄ ± 1, 𝑥 + 𝑦, ½, 1\u20442, 3\u22361",
        unicodedata.normalize("NFD", "Việc này cần phê duyệt trước khi gửi cho khách hàng"),
        unicodedata.normalize("NFD", "Où êtes-vous, Noël ? Ça déplaît à l’élève."),
        "Où êtes-vous, Noël ? Ça déplaît à l’élève – 3 €.",
        "İstanbul’daki dosyayı silmek için onay gerekiyor, i\u0307lk ığdır",
        "저장소 main에 배포할까요? 서버 3대를 재시작합니다.",
        "本番データベースのテーブルを削除しますか？：Ａ／Ｂ",
        "هل تريد حذف الملف من API الآن؟",
        "क्या आप API से फ़ाइल हटाना चाहते हैं?",
        "ต้องการลบไฟล์ออกจาก API หรือไม่",
        "plain ASCII",
    ],
)
def test_running_text_of_any_language_deceives_nobody(text: str) -> None:
    assert letters(text) == ""


@settings(deadline=None)
@given(st.text(alphabet=CHARACTERS))
def test_deceptive_letters_come_in_their_order_and_imitate_ascii(text: str) -> None:
    places = list(imitation.in_text(text))

    assert [place for place, _like in places] == sorted({place for place, _like in places})
    assert all(like.isascii() for _place, like in places)
    assert all(
        not text[place].isascii() or unicodedata.category(text[place + 1])[0] == "M"
        for place, _like in places
    )
