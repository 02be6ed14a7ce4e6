"""What the built-in agent reads out of a prompt: what it must ask for, and what it must not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streaming.agents.amounts import amount
from streaming.agents.planning import MAX_ACTIONS, MAX_READINGS
from streaming.agents.prompt import understand
from streaming.agents.vocabulary import OBJECTS, READS, VERBS

KIB = 1024


def _actions(prompt: str) -> list[str]:
    return [step.name for step in understand(prompt).actions]


def _readings(prompt: str) -> list[str]:
    return [step.name for step in understand(prompt).steps if not step.is_action]


def _parameters(prompt: str) -> dict[str, Any]:
    (step,) = understand(prompt).actions
    return dict(step.parameters)


# --- what asks --------------------------------------------------------------------------------

ENGLISH_ACTIONS = [
    ("delete 3 mails", "delete_mail"),
    ("Delete the mails", "delete_mail"),
    ("DELETE ALL MAILS", "delete_mail"),
    ("deleting 3 mails", "delete_mail"),
    ("deletes the mails", "delete_mail"),
    ("the agent removes 3 mails", "remove_mail"),
    ("please send the report", "send_report"),
    ("I want to delete the mails", "delete_mail"),
    ("I'd like you to merge PR 7", "merge_pull_request"),
    ("go ahead and merge #42", "merge_pull_request"),
    ("can you delete three mails?", "delete_mail"),
    ("Hello, could you please remove the user john?", "remove_user"),
    ("would you mind deleting the mails?", "delete_mail"),
    ("can we delete the mails?", "delete_mail"),
    ("can't you just delete the mails?", "delete_mail"),
    ("why don't you delete the mails?", "delete_mail"),
    ("how about deleting the mails?", "delete_mail"),
    ("let's deploy", "deploy_service"),
    ("you may delete the mails", "delete_mail"),
    ("the mails should be deleted", "delete_mail"),
    ("mails must be removed from the server", "remove_mail"),
    ("I want all mails deleted", "delete_mail"),
    ("make sure that all mails are deleted", "delete_mail"),
    ("have the 3 mails removed", "remove_mail"),
    ("email kim@example.com the report", "send_mail"),
    ("reply to the mail", "send_mail"),
    ("notify the team", "send_notification"),
    ("tell kim@example.com that I am late", "send_notification"),
    ("pay the invoice", "pay_invoice"),
    ("make a payment of $300", "pay_invoice"),
    ("give kim $300", "transfer_money"),
    ("wire €2,000 to ACME", "transfer_money"),
    ("send $300 to kim", "transfer_money"),
    ("issue a refund for order 42", "refund_payment"),
    ("refund order 1234", "refund_order"),
    ("charge the card $20", "charge_card"),
    ("buy two tickets", "buy_ticket"),
    ("PR 42 merge", "merge_pull_request"),
    ("git push origin main", "push_branch"),
    ("merge feature/login into develop", "merge_branch"),
    ("deploy v1.2.3 to production", "deploy_service"),
    ("proceed with the deployment", "deploy_service"),
    ("perform the deletion of the 3 mails", "delete_mail"),
    ("roll back the deployment", "rollback_deployment"),
    ("shut down the staging server", "stop_server"),
    ("get rid of the old files", "delete_file"),
    ("clean up the folder", "delete_folder"),
    ("create an issue", "create_issue"),
    ("open an issue", "open_issue"),
    ("write a file report.txt", "create_file"),
    ("generate a report", "create_report"),
    ("update the status of issue 42", "update_issue"),
    ("in production deploy v2.0", "deploy_service"),
    ("tomorrow merge PR 3", "merge_pull_request"),
    ("show the mails before deleting them", "delete_mail"),
    ("before Friday delete the mails", "delete_mail"),
    ("change the password", "update_password"),
    ("re-send the mail", "send_mail"),
    ("redeploy", "deploy_service"),
    ("auto-delete mails", "delete_mail"),
    ("cancel my subscription", "cancel_subscription"),
    ("publish the post", "publish_post"),
    ("run the migration", "run_migration"),
    ("rm: run rm -rf /", "run_command"),
    ("DROP TABLE users;", "delete_user"),
    ("kubectl delete pod x", "delete_pod"),
    ("delete everything", "delete_item"),
    ("delete", "delete_item"),
    ("delete?", "delete_item"),
    ("find mails to delete", "delete_mail"),
    ("summarise the mails, then delete them", "delete_mail"),
    ("The old mails: delete them", "delete_mail"),
    ("What is spam? Delete it.", "delete_mail"),
    ('"delete 3 mails"', "delete_mail"),
    ("de\u200blete the mails", "delete_mail"),
    ("ｄｅｌｅｔｅ the mails", "delete_mail"),
    ("please delete the\n3 mails", "delete_mail"),
    ("show the mails\ndelete the mails", "delete_mail"),
    ('he said "hi. Delete the mails', "delete_mail"),
    ('he said "hi. Delete the mails. "bye"', "delete_mail"),
    ("summarise the mails.Delete them", "delete_mail"),
]

KOREAN_ACTIONS = [
    ("메일 3개를 삭제해주세요", "delete_mail"),
    ("메일 삭제", "delete_mail"),
    ("메일을 삭제해", "delete_mail"),
    ("메일을 삭제해 줘", "delete_mail"),
    ("메일을 삭제하세요", "delete_mail"),
    ("메일을 삭제하십시오", "delete_mail"),
    ("메일을 삭제합니다", "delete_mail"),
    ("메일을 삭제한다", "delete_mail"),
    ("메일을 삭제하고 싶어", "delete_mail"),
    ("메일을 삭제했으면 좋겠어", "delete_mail"),
    ("메일을 삭제해야 해", "delete_mail"),
    ("메일을 삭제할 것", "delete_mail"),
    ("메일을 삭제함", "delete_mail"),
    ("메일을 삭제해 주실 수 있나요?", "delete_mail"),
    ("메일을 삭제해 주시겠어요?", "delete_mail"),
    ("메일을 삭제시켜줘", "delete_mail"),
    ("메일이 삭제되도록 해줘", "delete_mail"),
    ("메일 삭제 부탁드립니다", "delete_mail"),
    ("메일 삭제 요청드립니다", "delete_mail"),
    ("메일 삭제 바랍니다", "delete_mail"),
    ("메일 삭제 좀 해줘", "delete_mail"),
    ("메일 삭제 한 번 해줘", "delete_mail"),
    ("메일 삭제를 진행해 주세요", "delete_mail"),
    ("메일 삭제가 필요합니다", "delete_mail"),
    ("메일 삭제를 도와줘", "delete_mail"),
    ("메일삭제해줘", "delete_mail"),
    ("메일3개삭제해줘", "delete_mail"),
    ("메일을 지워줘", "delete_mail"),
    ("메일 다 지워버려", "delete_mail"),
    ("휴지통 비워줘", "delete_trash"),
    ("보내줘", "send_mail"),
    ("김철수에게 메일을 보내줘", "send_mail"),
    ("보고서를 발송해줘", "send_report"),
    ("5만원 보내줘", "transfer_money"),
    ("110-123-456789 계좌로 5만원 송금해줘", "transfer_money"),
    ("보고서.pdf를 메일로 보내줘", "send_file"),
    ("돈을 돌려주세요", "refund_payment"),
    ("환불받고 싶어요", "refund_payment"),
    ("연락처에 추가해줘", "add_item"),
    ("50,000원을 송금해줘", "transfer_money"),
    ("카드로 결제해줘", "pay_card"),
    ("청구서를 결제해줘", "pay_invoice"),
    ("주문 1234 환불해줘", "refund_order"),
    ("결제를 취소해줘", "cancel_payment"),
    ("PR 42를 병합해줘", "merge_pull_request"),
    ("PR 42 merge 해줘", "merge_pull_request"),
    ("PR 42 머지해주세요", "merge_pull_request"),
    ("production에 deploy해줘", "deploy_service"),
    ("운영에 배포해줘", "deploy_service"),
    ("재배포해줘", "deploy_service"),
    ("이슈를 만들어줘", "create_issue"),
    ("새 프로젝트 생성", "create_project"),
    ("회의 일정을 변경해줘", "update_event"),
    ("이슈 #42 닫아줘", "close_issue"),
    ("스팸 메일을 찾아서 삭제해줘", "delete_mail"),
    ("삭제한 메일을 복구해줘", "restore_mail"),
    ("배포가 끝나면 메일을 보내줘", "send_mail"),
    ("몇 시간 전 메일을 삭제해", "delete_mail"),
    ("누가 봐도 스팸인 메일은 삭제해", "delete_mail"),
    ("안 읽은 메일을 삭제해줘", "delete_mail"),
    ("삭제하지 않으면 안 됩니다", "delete_item"),
    ("delete 메일 3개", "delete_mail"),
    ("메일 3개를\n삭제해줘", "delete_mail"),
    # Hangul in conjoining letters, as file systems and keyboards may send it.
    ("메일을 삭제해줘", "delete_mail"),
]


@pytest.mark.parametrize(("prompt", "action"), ENGLISH_ACTIONS)
def test_prompt_asks_before_an_action_in_english(prompt: str, action: str) -> None:
    assert _actions(prompt) == [action]
    assert not understand(prompt).is_korean


@pytest.mark.parametrize(("prompt", "action"), KOREAN_ACTIONS)
def test_prompt_asks_before_an_action_in_korean(prompt: str, action: str) -> None:
    assert _actions(prompt) == [action]
    assert understand(prompt).is_korean


@pytest.mark.parametrize(
    ("prompt", "actions"),
    [
        (
            "delete 3 mails and send a report to kim@example.com",
            ["delete_mail", "send_report"],
        ),
        ("메일 3개를 삭제하고 보고서를 발송해줘", ["delete_mail", "send_report"]),
        ("메일세개를삭제하고보고서를발송해주세요", ["delete_mail", "send_report"]),
        ("삭제 및 발송해줘", ["delete_item", "send_mail"]),
        ("메일 삭제, 보고서 발송", ["delete_mail", "send_report"]),
        ("1. 메일 삭제\n2. 보고서 발송", ["delete_mail", "send_report"]),
        ("- delete the mails\n- send the report", ["delete_mail", "send_report"]),
        ("delete 3 mails 그리고 보고서 보내줘", ["delete_mail", "send_report"]),
        ("delete and archive the mails", ["delete_mail", "archive_mail"]),
        ("delete 3 mails and 2 files", ["delete_mail", "delete_file"]),
        ("메일 3개와 파일 2개를 삭제해줘", ["delete_mail", "delete_file"]),
        ("First pay the invoice. Then deploy.", ["pay_invoice", "deploy_service"]),
        ("transfer $300 and pay the rent", ["transfer_money", "pay_rent"]),
        ("not only delete the mails but also archive them", ["delete_mail", "archive_mail"]),
        ("삭제한 후 보고서를 보내줘", ["delete_item", "send_report"]),
    ],
)
def test_prompt_with_two_actions_asks_twice_in_order(prompt: str, actions: list[str]) -> None:
    assert _actions(prompt) == actions


# --- what does not ask ------------------------------------------------------------------------

READ_ONLY = [
    "test",
    "테스트",
    "hello",
    "안녕하세요",
    "summarise the mails",
    "Summarize my inbox",
    "search for invoices",
    "show me the report",
    "what's the weather?",
    "오늘 일정 알려줘",
    "메일을 요약해줘",
    "결제 내역 조회",
    "open the file",
    "run the tests",
    "테스트 실행해줘",
    "create a summary of the mails",
    "write a poem about deleting mails",
    "요약본을 만들어줘",
    "translate this mail",
    "count the deleted mails",
]

DESCRIBED = [
    "the deleted mails",
    "show the deleted mails",
    "show deployed services",
    "show me the list of deleted files",
    "summarise the payment report",
    "list all payments made last month",
    "list paid invoices",
    "summarise what was deployed and released",
    "I have deleted the mails",
    "show the update history",
    "show payment and refund history",
    "show refunds and transfers",
    "release notes",
    "refund policy",
    "email from kim",
    "the last big release report",
    "any big release this week?",
    "check email",
    "list open pull requests",
    "explain git push",
    "what is a merge conflict",
    "calculate the refund amount",
    "list the steps to deploy the service",
    "show users who deleted files",
    "show the job that deletes files",
    "give me an update on the deployment",
    "삭제된 메일 조회",
    "삭제한 메일을 보여줘",
    "삭제할 메일을 찾아줘",
    "삭제해도 되는 파일 알려줘",
    "삭제 예정인 파일 목록",
    "삭제되었습니다",
    "메일이 삭제되었는지 확인해줘",
    "메일을 보냈는지 확인해줘",
    "생성된 보고서 요약",
    "만들어진 이슈 조회",
    "새로 만든 파일 요약",
    "보낸 메일함 조회",
    "결제 및 환불 내역 조회해줘",
    "결제 완료된 주문 보여줘",
    "환불 요청 건 조회",
    "환불 정책 알려줘",
    "배포 상태 확인해줘",
    "배포가 완료되면 알려줘",
    "메일 삭제 요청 목록 조회",
    "송금 완료",
    "환불받은 내역",
    "delete 버튼 위치 알려줘",
    "update 내역 보여줘",
]

ASKED_ABOUT = [
    "how do I delete a mail?",
    "Hi, how do I delete a mail?",
    "how do I find and delete a mail?",
    "show me how to delete a mail",
    "can you tell me how to delete mails?",
    "explain how refunds work",
    "what does delete mean?",
    "what would you delete?",
    "which mails can you delete?",
    "before you delete the mails, show them",
    "before deleting the mails, show them",
    "메일 삭제하기 전에 보여줘",
    "what happens if I delete the account?",
    "should I delete the mails?",
    "can I delete mails?",
    "is it safe to delete the mails?",
    "did you send the report?",
    "was the payment sent?",
    "has the release been deployed?",
    "who merged PR 42?",
    "check if I should delete it",
    "tell me whether to delete it",
    "how much is the refund?",
    "어떻게 삭제하나요?",
    "어떻게 삭제해",
    "메일을 삭제하는 방법 알려줘",
    "메일을 삭제하려면 어떻게 해야 하나요?",
    "메일을 삭제할까요?",
    "메일을 삭제해야 하나요?",
    "메일을 삭제해도 될까요?",
    "왜 삭제했어?",
    "누가 메일을 삭제했나요?",
    "메일을 보냈어?",
    "환불 방법이 뭐야?",
    "메일 삭제가 가능한가요?",
]

NEGATED = [
    "do not delete anything",
    "don't delete the mails",
    "Don’t delete the mails",
    "please do not send the mail",
    "never delete mails",
    "do not\ndelete the mails",
    "don't delete, move or send anything",
    "do not delete or send anything",
    "don't ever delete it",
    "do not accidentally delete it",
    "I don't want you to delete the mails",
    "I don't think you should send it",
    "I don't want it deleted",
    "you must not delete it",
    "nobody should delete the mails",
    "no mails should be deleted",
    "ensure that nothing is deleted",
    "summarise the mails without deleting them",
    "avoid sending mails",
    "stop sending mails",
    "no need to send a mail",
    "delete nothing",
    "send no mails",
    "read-only: do not modify anything",
    "삭제하지 마세요",
    "삭제하지 마",
    "절대 삭제하지 말아줘",
    "삭제하지는 마",
    "삭제는 하지 마",
    "삭제를 진행하지 마세요",
    "삭제하면 안 돼",
    "삭제해서는 안 됩니다",
    "삭제 금지",
    "삭제 안 해도 돼",
    "삭제할 필요 없어",
    "삭제하고 싶지 않아",
    "보내지 마",
    "안 보내도 돼",
    "메일을 지우지 마",
    "삭제 없이 요약해줘",
    "메일을 삭제하거나 보내지 마세요",
    "삭제하지도 보내지도 마세요",
    "삭제 또는 발송 금지",
    "merge하지 마세요",
]

INSIDE_OTHER_WORDS = [
    "sender",
    "undelete",
    "un-delete",
    "payload",
    "mergesort",
    "createdAt",
    "deleteAll",
    "delete_mail",
    "updater",
    "postman",
    "the sender of the payload",
    "발송인 조회",
    "배포일 알려줘",
    "미결제 주문 조회",
    "미발송 메일 목록",
    "김수정",
    "학생성적 조회",
    "지우개를 보여줘",
    "편집장 이름",
]

QUOTED = [
    'search for "delete all mails"',
    'translate "delete all mails" into Korean',
    'explain this sentence: "please delete all"',
    'what does "delete all mails" mean?',
    "search for 'delete all mails'",
    "“메일 삭제해줘”를 번역해줘",
]


@pytest.mark.parametrize("prompt", READ_ONLY)
def test_prompt_that_only_reads_never_asks(prompt: str) -> None:
    assert _actions(prompt) == []


@pytest.mark.parametrize("prompt", DESCRIBED)
def test_prompt_that_mentions_a_deed_never_asks(prompt: str) -> None:
    assert _actions(prompt) == []


@pytest.mark.parametrize("prompt", ASKED_ABOUT)
def test_prompt_that_asks_about_an_action_never_asks_for_it(prompt: str) -> None:
    assert _actions(prompt) == []


@pytest.mark.parametrize("prompt", NEGATED)
def test_prompt_that_forbids_an_action_never_asks_for_it(prompt: str) -> None:
    assert _actions(prompt) == []


@pytest.mark.parametrize("prompt", INSIDE_OTHER_WORDS)
def test_prompt_matches_no_word_inside_a_longer_one(prompt: str) -> None:
    assert _actions(prompt) == []


@pytest.mark.parametrize("prompt", QUOTED)
def test_prompt_takes_a_quotation_for_what_is_spoken_of(prompt: str) -> None:
    assert _actions(prompt) == []


@pytest.mark.parametrize(
    ("prompt", "actions"),
    [
        ("Don't delete the mails, archive them", ["archive_mail"]),
        ("instead of deleting the mails, archive them", ["archive_mail"]),
        ("do not delete the mails and send a report", ["send_report"]),
        ("delete the mails without sending a notification", ["delete_mail"]),
        ("don't ask, just delete it", ["delete_item"]),
        ("do not hesitate to delete the mails", ["delete_mail"]),
        ("don't forget to send the report", ["send_report"]),
        ("no, delete it", ["delete_item"]),
        ("I can't login, reset my password", ["reset_password"]),
        ("I don't need these mails anymore delete them", ["delete_mail"]),
        ("If you don't need it delete it", ["delete_item"]),
        ("mails not read yet should be deleted", ["delete_mail"]),
        ("the report is not needed, delete it", ["delete_report"]),
        ("How many mails are there, and can you delete them?", ["delete_mail"]),
        ("when you are done, delete the file", ["delete_file"]),
        ("if the test passes, deploy it", ["deploy_service"]),
        ("What I want is to delete the mails", ["delete_mail"]),
        ("explain how to deploy a service and restart it", ["restart_service"]),
        ("삭제하지 말고 메일을 보관해줘", ["archive_mail"]),
        ("메일은 보내지 말고 보고서만 작성해줘", ["create_report"]),
        ("결제하지 않은 주문을 취소해줘", ["cancel_order"]),
        ("메일이 왜 왔는지 보고 삭제해줘", ["delete_mail"]),
    ],
)
def test_prompt_negation_and_question_reach_no_further_than_their_clause(
    prompt: str, actions: list[str]
) -> None:
    assert _actions(prompt) == actions


def test_prompt_tells_what_was_forbidden() -> None:
    understood = understand("archive the mails but do not delete or send anything")
    assert understood.forborne == ("delete", "send")


# --- parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "parameters"),
    [
        ("메일 3개를 삭제해주세요", {"count": 3}),
        ("delete 3 mails", {"count": 3}),
        ("delete the last 3 unread mails", {"count": 3}),
        ("delete three mails", {"count": 3}),
        ("delete twelve mails", {"count": 12}),
        ("delete 3 of the mails", {"count": 3}),
        ("delete two or three mails", {"count": 3}),
        ("delete 1,000 mails", {"count": 1000}),
        ("delete 12345678901234567890 mails", {"count": "12345678901234567890"}),
        ("메일 한 개를 삭제해줘", {"count": 1}),
        ("메일 두 통을 삭제해줘", {"count": 2}),
        ("메일 세개 삭제해줘", {"count": 3}),
        ("메일 네 건 삭제해줘", {"count": 4}),
        ("다섯 개의 메일을 삭제해줘", {"count": 5}),
        ("3개의 메일을 삭제해줘", {"count": 3}),
        ("delete all mails", {"all": True}),
        ("delete everything", {"all": True}),
        ("모든 메일을 삭제해줘", {"all": True}),
        ("메일을 모두 삭제해줘", {"all": True}),
        ("delete mails older than 30 days", {}),
        ("delete mails from the last 7 days", {}),
        ("delete the 3rd mail", {}),
        ("delete all mails except those from kim", {"all": True, "except": "those from kim"}),
        (
            "중요 메일을 제외하고 모두 삭제해줘",
            {"all": True, "except": "중요 메일을"},
        ),
        ("send a mail to kim@example.com", {"recipients": ["kim@example.com"]}),
        (
            "send it to kim@a.com and lee@b.com",
            {"recipients": ["kim@a.com", "lee@b.com"]},
        ),
        ("kim@example.com에게 메일을 보내줘", {"recipients": ["kim@example.com"]}),
        ("kim@example.com으로 메일 보내줘", {"recipients": ["kim@example.com"]}),
        ("send the newsletter to all customers", {"recipients": ["all customers"]}),
        ("transfer 300 USD to Kim", {"recipients": ["Kim"], "amount": 300, "currency": "USD"}),
        ("모든 고객에게 뉴스레터를 발송해줘", {"recipients": ["모든 고객"]}),
        ("I want to send the mail", {}),
        ("delete the mails from kim@example.com", {"addresses": ["kim@example.com"]}),
        ("kim@example.com이 보낸 메일을 삭제해줘", {"addresses": ["kim@example.com"]}),
        ("pay $1,200.50", {"amount": 1200.5, "currency": "USD"}),
        ("50,000원을 송금해줘", {"amount": 50000, "currency": "KRW"}),
        ("5만 원 결제해줘", {"amount": 50000, "currency": "KRW"}),
        ("만원을 보내줘", {"amount": 10000, "currency": "KRW"}),
        (
            "pay $5 and €7",
            {
                "amounts": [
                    {"amount": 5, "currency": "USD"},
                    {"amount": 7, "currency": "EUR"},
                ]
            },
        ),
        ("deploy to production", {"environment": "production"}),
        ("deploy to staging and prod", {"environments": ["staging", "production"]}),
        ("운영에 배포해줘", {"environment": "production"}),
        ("스테이징 서버에 배포해줘", {"environment": "staging"}),
        ("개발 환경에 배포해줘", {"environment": "development"}),
        ("운영팀에게 메일을 보내줘", {"recipients": ["운영팀"]}),
        ("deploy v1.2.3", {"version": "v1.2.3"}),
        ("1.2.3을 배포해줘", {"version": "1.2.3"}),
        ("in production, deploy v2.0", {"environment": "production", "version": "v2.0"}),
        ("merge PR 42", {"number": 42}),
        ("merge PR #42", {"number": 42}),
        ("merge #42", {"number": 42}),
        ("merge PR-42", {"number": 42}),
        ("merge PRs 42, 43 and 44", {"numbers": [42, 43, 44]}),
        ("PR 42를 병합해줘", {"number": 42}),
        ("42번 이슈를 닫아줘", {"number": 42}),
        ("주문번호 1234를 취소해줘", {"number": 1234}),
        ("pay INV-2024-001", {"reference": "INV-2024-001"}),
        ("110-123-456789 계좌로 송금해줘", {"reference": "110-123-456789"}),
        ("remove item 3 from the cart", {"number": 3}),
        ("pay 2 million KRW", {"amount": 2000000, "currency": "KRW"}),
        (
            "merge feature/login into main",
            {"branch": "feature/login", "target_branch": "main"},
        ),
        (
            "feature/login 브랜치를 main에 병합해줘",
            {"branch": "feature/login", "target_branch": "main"},
        ),
        ("delete report.pdf", {"file": "report.pdf"}),
        ("보고서.pdf를 삭제해줘", {"file": "보고서.pdf"}),
        ('delete "a.txt" and b.txt', {"files": ["a.txt", "b.txt"]}),
        ('create an issue titled "Login fails"', {"name": "Login fails"}),
        ("create an issue titled 'Login fails'", {"name": "Login fails"}),
        ("「주간 보고」 문서를 생성해줘", {"name": "주간 보고"}),
        ("post it to https://example.com/hooks/1", {"url": "https://example.com/hooks/1"}),
        ("schedule a meeting at 10:00", {"time": "10:00"}),
    ],
)
def test_prompt_parameters_are_what_it_says(prompt: str, parameters: dict[str, Any]) -> None:
    assert _parameters(prompt) == parameters


def test_prompt_parameters_stay_with_their_action() -> None:
    first, second = understand("메일 3개를 삭제하고 보고서를 kim@a.com에게 발송해줘").actions
    assert first.parameters == {"count": 3}
    assert second.parameters == {"recipients": ["kim@a.com"]}
    first, second = understand("delete 3 mails and transfer $5 to kim@a.com").actions
    assert first.parameters == {"count": 3}
    assert second.parameters == {"recipients": ["kim@a.com"], "amount": 5, "currency": "USD"}
    first, second = understand("delete 3 mails, then in production deploy v2.0").actions
    assert first.parameters == {"count": 3}
    assert second.parameters == {"environment": "production", "version": "v2.0"}


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [
        ("$1,200.50", 1200.5, "USD"),
        ("$5k", 5000, "USD"),
        ("US$ 7", 7, "USD"),
        ("USD 300", 300, "USD"),
        ("300 usd", 300, "USD"),
        ("20 dollars", 20, "USD"),
        ("€2,000", 2000, "EUR"),
        ("£0.5", 0.5, "GBP"),
        ("₩50,000", 50000, "KRW"),
        ("50,000원", 50000, "KRW"),
        ("만원", 10000, "KRW"),
        ("5만원", 50000, "KRW"),
        ("3만 5천원", 35000, "KRW"),
        ("백만 원", 1000000, "KRW"),
        ("1억 2천만원", 120000000, "KRW"),
        ("100달러", 100, "USD"),
        ("99999999999999999999원", "99999999999999999999", "KRW"),
    ],
)
def test_prompt_amounts_are_exact(text: str, value: object, currency: str) -> None:
    assert amount(text) == {"amount": value, "currency": currency}
    assert _parameters(f"{text} 결제해줘") == {"amount": value, "currency": currency}


@pytest.mark.parametrize("text", ["$1,2345", "€1.200,50", f"${'9' * 50}", "1.5.7.9원"])
def test_prompt_never_shows_a_part_of_an_amount(text: str) -> None:
    assert "amount" not in _parameters(f"pay {text} now")


def test_prompt_lists_and_texts_are_bounded_and_counted() -> None:
    people = ", ".join(f"user{number}@example.com" for number in range(5_000))
    parameters = _parameters(f"send the report to {people}")
    assert len(parameters["recipients"]) == 10
    assert parameters["recipients_total"] == 5_000
    (step,) = understand(f'create an issue titled "{"long " * 39}"').actions
    assert len(step.parameters["name"]) <= 100
    assert len(step.excerpt) <= 160


# --- reading steps ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "readings"),
    [
        ("summarise the mails", ["summarize"]),
        ("search for invoices and translate them", ["search", "translate"]),
        ("메일을 찾아서 요약해줘", ["search", "summarize"]),
        ("결제 내역 조회", ["list"]),
        ("test", []),
        ("do not summarise the mails", []),
    ],
)
def test_prompt_readings_are_steps_that_do_not_ask(prompt: str, readings: list[str]) -> None:
    assert _readings(prompt) == readings
    assert _actions(prompt) == []


# --- limits -----------------------------------------------------------------------------------


def test_prompt_plans_a_limited_number_of_actions_and_says_so() -> None:
    understood = understand("delete the mail. " * 30)
    assert len(understood.actions) == MAX_ACTIONS
    assert understood.is_cut
    assert not understand("delete the mail. " * MAX_ACTIONS).is_cut


def test_prompt_with_many_readings_still_finds_its_action() -> None:
    pasted = " ".join(
        f"Show the {name}. Search the {name}." for name in ("mail", "file", "report", "user")
    )
    understood = understand(f"{pasted} Delete the mails.")
    assert len(understood.steps) == MAX_READINGS + 1
    assert [step.name for step in understood.actions] == ["delete_mail"]
    assert understood.is_cut


@pytest.mark.parametrize(
    "pattern",
    [
        "a.",
        "삭제",
        "보내",
        "메일과 ",
        "don't delete, ",
        "delete 3 mails and ",
        "\"“'‘`",
        "1,",
        "1",
        "kim@",
        "feature/",
        "a/b.",
        "어떻게 ",
        "만 원 ",
        "(",
        "ᄉ",
    ],
)
def test_prompt_of_256_kib_is_read_to_its_end(pattern: str) -> None:
    size = 256 * KIB
    prompt = (pattern * (size // len(pattern) + 1))[: size - 64] + "\n\nPlease delete the mails."
    assert _actions(prompt)


FRAGMENTS = [
    *("delete", "deleting", "deleted", "send", "pay", "merge", "the", "3", "mails", "it", "to"),
    *("and", "or", "not", "don't", "how", "do", "I", "you", "please", "show", "of", "be", "all"),
    *(",", ".", "?", "\n", '"', "(", "kim@example.com", "$5", "5만원", "#42", "v1.2.3", "a.txt"),
    *("메일", "메일을", "3개를", "삭제", "삭제해줘", "삭제하고", "삭제된", "하지", "마세요", "및"),
    *("보내", "줘", "만들", "어떻게", "조회", "진행", "해", "않", "을", "모든", "제외하고", "안"),
]


@given(
    st.one_of(
        st.text(max_size=300),
        st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(" ".join),
        st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join),
    )
)
@settings(max_examples=400, deadline=None)
def test_prompt_of_any_text_is_understood_alike_each_time(prompt: str) -> None:
    understood = understand(prompt)
    assert understood == understand(prompt)
    assert len(understood.actions) <= MAX_ACTIONS
    for step in understood.steps:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", step.name)
        assert step.verb in (VERBS if step.is_action else READS)
        assert step.target in {*OBJECTS, "", "item"}
        json.dumps(dict(step.parameters), allow_nan=False).encode()
    understood.opening.encode()


@given(st.lists(st.sampled_from(["hello", "the mails", "메일", ",", "\n", "!"]), max_size=12))
@settings(max_examples=100, deadline=None)
def test_prompt_without_a_verb_never_asks(words: list[str]) -> None:
    assert understand(" ".join(words)).steps == ()


@given(st.text(alphabet="abc 가나다 \n.,!", max_size=100))
@settings(max_examples=100, deadline=None)
def test_prompt_finds_its_action_after_any_other_text(text: str) -> None:
    assert "delete_mail" in _actions(f"{text}\nDelete the mails.")
    assert "delete_mail" in _actions(f"{text}\n메일을 삭제해줘.")


def test_prompt_vocabulary_names_make_action_types() -> None:
    for name in [*VERBS, *OBJECTS, *READS]:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    for verb in VERBS.values():
        assert verb.usual_object in {*OBJECTS, "item"}
