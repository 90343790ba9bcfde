"""The page Submit over real HTTP: a look at drafts, and the rows of what was sent."""

from __future__ import annotations

import base64
import html as markup
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from api_world import JOB, TOKEN, Served
from live_world import LiveWorld, table

from jetsched.cluster.drafts import MOST_DRAFTS
from jetsched.cluster.rules import Rules
from jetsched.cluster.tokens import Tokens
from jetsched.cluster.ui_submit import EXAMPLES, _examples
from jetsched.jobfile import parse_job

PAGE = {"X-Jetsched-Page": "1"}
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two boards that know the workload `tiny-gpt2`, and no other."""
    home = tmp_path_factory.mktemp("submit")
    with LiveWorld(home, table(**{"tiny-gpt2": 1.0})) as world:
        world.until_devices("nx-1", "orin-1")
        with Served(world, home=home) as found:
            yield found


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    """A browser on this machine, with its cookie."""
    with httpx.Client(base_url=served.url, trust_env=False, headers=PAGE) as http:
        http.get("/ui/submit")
        yield http


def look(http: httpx.Client, *texts: str, **more: Any) -> dict[str, Any]:
    drafts = [{"file": f"job-{n}.yaml", "text": text} for n, text in enumerate(texts)]
    answer = http.post("/ui/submit/look", json={"drafts": drafts, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_the_page_holds_the_form_and_examples_that_are_in_order(http: httpx.Client) -> None:
    html = http.get("/ui/submit").text
    assert 'id="draft-template"' in html and "jetsched submit FILE.yaml" in html
    for name, text in _examples():
        assert f'data-name="{name}"' in html
        assert parse_job(text, name).workload.kind in ("train", "command")
    assert len(_examples()) == len(EXAMPLES)


def test_all_problems_come_at_once_with_places_to_jump_to(http: httpx.Client) -> None:
    bad = "work:\n  kind: train\n  model: gpt2\n  epoch: 2\npriority: 500\n"
    found = look(http, JOB, bad)
    assert found["jobs"] == 0
    html = found["html"]
    assert "2 problems. Nothing was submitted." in html
    jumps = re.findall(r'data-draft="(\d)" data-line="(\d)" data-column="(\d+)"', html)
    assert jumps == [("1", "4", "3"), ("1", "5", "1")]
    assert "did you mean" in html and "job-0.yaml: nothing is wrong with it" in html
    assert "Plan for" not in html


def test_without_a_problem_each_job_has_the_table_of_plan(
    served: Served, http: httpx.Client
) -> None:
    found = look(http, f"name: first\n{JOB}", JOB.replace("tiny-gpt2", "gpt2"))
    assert (found["jobs"], found["hopeless"]) == (2, 1)
    html = found["html"]
    assert "Plan for job-0.yaml" in html and "Plan for job-1.yaml" in html
    assert "starts now" in html and "no board can ever run it" in html
    assert len(re.findall(r'<tr data-device="(nx-1|orin-1)"', html)) == 4
    assert " emulated</span>" in html
    assert served.client.jobs() == []  # nothing was sent


def test_jobs_that_are_alike_share_one_table(http: httpx.Client) -> None:
    html = look(http, f"name: a\n{JOB}", f"name: b\n{JOB}", f"priority: 1\n{JOB}")["html"]
    assert html.count("<table") == 2 and "Its plan is that of job-0.yaml" in html
    assert html.count("<details open>") == 1


def test_nothing_in_a_job_file_becomes_markup(http: httpx.Client) -> None:
    for text in (
        f"name: '{EVIL}'\n{JOB}",
        f"'{EVIL}': 1\n",
        f"{EVIL}: [\n",
        JOB + f"user: '{EVIL}'",
    ):
        answer = http.post("/ui/submit/look", json={"drafts": [{"file": EVIL, "text": text}]})
        assert "<script" not in answer.json()["html"]


def test_a_file_that_is_no_text_is_told_with_its_offset(http: httpx.Client) -> None:
    data = base64.b64encode(b"name: \xfcber\n").decode()
    answer = http.post("/ui/submit/look", json={"drafts": [{"file": "l.yaml", "base64": data}]})
    assert "is not UTF-8: byte 0xfc at offset 6" in markup.unescape(answer.json()["html"])
    for bad in ({"file": "x"}, {"base64": "%%"}, {"text": "", "base64": ""}):
        assert http.post("/ui/submit/look", json={"drafts": [bad]}).status_code == 400


def test_a_file_beside_the_job_file_is_refused_with_what_would_bring_it(
    http: httpx.Client,
) -> None:
    text = "work: {kind: infer, model: tiny-gpt2, prompts: prompts.jsonl}\n"
    html = markup.unescape(look(http, text)["html"])
    assert "is relative" in html and "`jetsched submit FILE.yaml` sends them along" in html


def test_no_draft_and_too_many_are_refused(http: httpx.Client) -> None:
    for count in (0, MOST_DRAFTS + 1):
        drafts = [{"text": JOB}] * count
        answer = http.post("/ui/submit/look", json={"drafts": drafts})
        assert answer.status_code == 400 and answer.json()["hint"]


def test_what_was_sent_is_watched_until_it_is_done(served: Served, http: httpx.Client) -> None:
    sent = {"jobs": [{"file": "a.yaml", "text": f"name: '{EVIL}'\n{JOB}"}], "key": "one"}
    (row,) = http.post("/jobs", json=sent).json()
    assert http.post("/jobs", json=sent).json()[0]["id"] == row["id"]  # asked again: the same
    served.world.until_state(row["id"], "done")
    html = http.get("/ui/submit/sent", params={"ids": row["id"]}).text
    assert f'id="sent-row-{row["id"]}"' in html and "DONE" in html and "data-live=" in html
    assert "<script>alert" not in html and "&lt;script&gt;" in html


@pytest.mark.parametrize(("ids", "status"), [("", 400), ("99", 404), ("x", 404)])
def test_jobs_that_are_none_cannot_be_watched(http: httpx.Client, ids: str, status: int) -> None:
    assert http.get("/ui/submit/sent", params={"ids": ids}).status_code == status


def test_a_look_by_cookie_is_for_this_sites_pages_only(served: Served) -> None:
    with httpx.Client(base_url=served.url, trust_env=False) as browser:
        browser.get("/ui/submit")
        wish = {"drafts": [{"text": JOB}]}
        assert browser.post("/ui/submit/look", json=wish).status_code == 403
        evil = {**PAGE, "Origin": "http://elsewhere.example"}
        assert browser.post("/ui/submit/look", json=wish, headers=evil).status_code == 403


def test_who_is_not_the_owner_may_name_only_what_the_head_lets_him(served: Served) -> None:
    """The page's look is as strict as `POST /jobs`: the same rules, the same token."""
    home = served.world.home
    tokens = Tokens(home / "made-tokens.json")
    made = tokens.new("ada", "admin")
    secret = home / "secret.txt"
    secret.write_text("hello\n")
    text = f"work: {{kind: infer, model: tiny-gpt2, prompts: {secret}}}\n"
    rules = Rules(commands=False)
    with Served(served.world, tokens, home=home, rules=rules) as strict:
        for token, words in ((TOKEN, "1 job can be sent"), (made, "is not a file that the head")):
            with httpx.Client(
                base_url=strict.url,
                trust_env=False,
                headers={**PAGE, "Authorization": f"Bearer {token}"},
            ) as http:
                assert words in markup.unescape(look(http, text)["html"])
                assert "this head runs no commands" in look(http, JOB)["html"]
