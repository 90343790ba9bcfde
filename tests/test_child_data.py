"""The child's data: SQuAD files, windows around answers, prompts, bytes as tokens."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetsched.profiler import child_data as data


def a_squad(**changes: Any) -> dict[str, Any]:
    """One article, one paragraph, one question; ``changes`` go into its answer."""
    answer = {"text": "eleven hours", "answer_start": 20, **changes}
    qa = {"id": "1", "question": "How long does it rest?", "answers": [answer]}
    paragraph = {"context": "The dough rests for eleven hours near the stove.", "qas": [qa]}
    return {"version": "1.1", "data": [{"title": "Bread", "paragraphs": [paragraph]}]}


def written(folder: Path, document: Any) -> str:
    path = folder / "squad.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


# --- reading -------------------------------------------------------------------------------------


def test_the_shipped_data_set_is_in_squad_form() -> None:
    samples = data.read_squad(data.SHIPPED_SQUAD)
    assert len(samples) >= 60
    assert len({sample.context for sample in samples}) == 12
    for sample in samples:
        assert sample.context[sample.start :].startswith(sample.answer)
        assert sample.question.endswith("?")


def test_the_ids_of_the_shipped_questions_are_unique() -> None:
    document = json.loads(Path(data.SHIPPED_SQUAD).read_text(encoding="utf-8"))
    paragraphs = [p for article in document["data"] for p in article["paragraphs"]]
    ids = [qa["id"] for paragraph in paragraphs for qa in paragraph["qas"]]
    assert document["version"] == "1.1"
    assert len(ids) == len(set(ids))


def test_a_file_in_squad_form_is_read(tmp_path: Path) -> None:
    samples, origin = data.load_samples("", written(tmp_path, a_squad()), offline=True)
    assert origin == "file"
    assert samples[0].answer == "eleven hours"


def test_questions_without_an_answer_are_left_out(tmp_path: Path) -> None:
    document = a_squad()
    document["data"][0]["paragraphs"][0]["qas"].append({"question": "Why?", "answers": []})
    assert len(data.read_squad(written(tmp_path, document))) == 1


ANSWER = r"data\[0\]\.paragraphs\[0\]\.qas\[0\]\.answers\[0\]"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ([], "the file should be an object"),
        ({"rows": []}, "the file has no list 'data'"),
        ({"data": [1]}, r"data\[0\] should be an object"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"data\[0\]\.paragraphs\[0\] has no text"),
        ({"data": []}, "no question with an answer"),
        (a_squad(answer_start=3), f"{ANSWER}: at 3 the context has ' dough rests', not 'eleven"),
        (a_squad(answer_start="20"), f"{ANSWER}: answer_start should be a whole number"),
        (a_squad(answer_start=-1), f"{ANSWER}: at -1 "),
        (a_squad(text=""), f"{ANSWER} has no text 'text'"),
    ],
)
def test_a_bad_file_names_the_place_of_its_problem(
    tmp_path: Path, document: Any, message: str
) -> None:
    with pytest.raises(data.DatasetError, match=message):
        data.read_squad(written(tmp_path, document))


def test_a_missing_file_and_a_binary_one_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(data.DatasetError, match="cannot be read: No such file"):
        data.read_squad(str(tmp_path / "nowhere.json"))
    (tmp_path / "squad.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(data.DatasetError, match="not JSON in UTF-8"):
        data.read_squad(str(tmp_path / "squad.json"))


@pytest.fixture
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "no-cache"))


@pytest.mark.usefixtures("no_cache")
def test_squad_offline_is_the_shipped_file() -> None:
    samples, origin = data.load_samples("squad", None, offline=True)
    assert origin == "shipped"
    assert len(data.load_samples("squad[:7]", None, offline=True)[0]) == 7
    assert len(data.load_samples("squad[:9999]", None, offline=True)[0]) == len(samples)


@pytest.mark.usefixtures("no_cache")
def test_the_shipped_file_never_stands_in_for_another_data_set() -> None:
    with pytest.raises(data.DatasetError, match="'me/mine' is not on this machine"):
        data.load_samples("me/mine", None, offline=True)


@pytest.mark.parametrize("name", ["squad[2000]", "squad[:x]", "squad[:0]", "a[:1][:2]"])
def test_a_slice_that_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(data.DatasetError, match="dataset "):
        data.load_samples(name, None, offline=True)


# --- order ---------------------------------------------------------------------------------------


def test_each_epoch_sees_every_sample_once_in_its_own_order() -> None:
    numbers = list(data.order(10, seed=1, done=0, amount=20))
    assert sorted(numbers[:10]) == sorted(numbers[10:]) == list(range(10))
    assert numbers[:10] != numbers[10:]


@given(st.integers(1, 12), st.integers(0, 40), st.integers(0, 3))
def test_the_order_goes_on_where_a_run_stopped(count: int, done: int, seed: int) -> None:
    whole = list(data.order(count, seed, 0, 40))
    assert list(data.order(count, seed, done, 40)) == whole[done:]


# --- tokens --------------------------------------------------------------------------------------


@given(st.text(), st.integers(4, 400))
def test_bytes_as_tokens_come_back_as_the_same_text(text: str, vocab_size: int) -> None:
    tokenizer = data.ByteTokenizer(vocab_size)
    ids = tokenizer.encode(text)
    assert all(2 <= i < vocab_size for i in ids)
    assert tokenizer.decode(ids) == text


@given(st.lists(st.integers(0, 50256)), st.integers(4, 50257))
def test_whatever_a_model_says_can_be_decoded(ids: list[int], vocab_size: int) -> None:
    text = data.ByteTokenizer(vocab_size).decode(ids)
    text.encode("utf-8")


def test_padding_and_end_marks_are_no_text() -> None:
    tokenizer = data.ByteTokenizer(300)
    assert tokenizer.decode([0, 0, *tokenizer.encode("hé"), 1]) == "hé"


def test_a_vocabulary_of_three_is_refused() -> None:
    with pytest.raises(data.DatasetError, match="too small"):
        data.ByteTokenizer(3)


# --- rows ----------------------------------------------------------------------------------------

SAMPLES = data.read_squad(data.SHIPPED_SQUAD)


@given(st.sampled_from(SAMPLES), st.sampled_from([8, 16, 40, 64, 128, 384, 1024]))
def test_the_answer_is_inside_the_window(sample: data.Sample, seq_len: int) -> None:
    """Whole where there is room for it, else its beginning; and always with a space before it."""
    tokenizer = data.ByteTokenizer(50257)
    row = data.qa_row(sample, tokenizer, seq_len)
    assert len(row.ids) == seq_len
    assert 0 < row.start <= row.end < row.length <= seq_len
    found = tokenizer.decode(row.ids[row.start : row.end + 1]).strip()
    assert sample.answer.startswith(found)
    assert found == sample.answer or seq_len < 80
    assert set(row.ids[row.length :]) <= {tokenizer.pad_id}


@given(st.sampled_from(SAMPLES), st.sampled_from([8, 16, 40, 64, 128, 384, 1024]))
def test_a_language_models_row_ends_with_the_answer(sample: data.Sample, seq_len: int) -> None:
    tokenizer = data.ByteTokenizer(50257)
    row = data.lm_row(sample, tokenizer, seq_len)
    assert len(row.ids) == seq_len >= row.length
    assert row.ids[row.length - 1] == tokenizer.eos_id
    assert sample.answer.startswith(tokenizer.decode(row.ids[row.start : row.end + 1]).strip())


def test_a_short_sample_is_not_cut() -> None:
    sample = SAMPLES[0]
    tokenizer = data.ByteTokenizer(50257)
    row = data.qa_row(sample, tokenizer, 2000)
    assert tokenizer.decode(row.ids) == sample.question + sample.context


def test_padding_is_not_learnt() -> None:
    batch = data.lm_batch(SAMPLES[:2], data.ByteTokenizer(50257), 2000)
    for mask, labels in itertools.chain(zip(batch["attention_mask"], batch["labels"], strict=True)):
        assert [label == data.IGNORED_LABEL for label in labels] == [m == 0 for m in mask]


# --- prompts -------------------------------------------------------------------------------------


def test_the_shipped_prompts_are_read() -> None:
    prompts, origin = data.load_prompts(None)
    assert origin == "shipped" and len(prompts) == 16


def test_prompts_are_lines_of_text_or_of_json(tmp_path: Path) -> None:
    text, lines = tmp_path / "prompts.txt", tmp_path / "prompts.jsonl"
    text.write_text("One?\n\n  Two?\n")
    lines.write_text('{"prompt": "One?"}\n{"prompt": "Two?", "id": 2}\n')
    assert (
        data.load_prompts(str(text)) == data.load_prompts(str(lines)) == (["One?", "Two?"], "file")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a"}\n{"text": "b"}\n', r"prompts\.jsonl:2: should be"),
        ('{"prompt": "a"}\nplain\n', r"prompts\.jsonl:2: not JSON"),
        ("\n", "has no prompt"),
    ],
)
def test_a_bad_prompt_is_named_by_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    with pytest.raises(data.DatasetError, match=message):
        data.load_prompts(str(path))


# --- the datasets library ------------------------------------------------------------------------


def test_rows_in_squads_columns_are_read_through_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library takes a folder as it takes a hub id; a question without answers is left out."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [
        {
            "context": "The dough rests for eleven hours.",
            "question": "How long?",
            "answers": {"text": texts, "answer_start": [20] * len(texts)},
        }
        for texts in (["eleven hours"], [])
    ]
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples, origin = data.load_samples(str(folder), None, offline=False)
    assert origin == "hub"
    assert [tuple(sample)[1:] for sample in samples] == [("How long?", "eleven hours", 20)]
    (folder / "train.jsonl").write_text('{"text": "no columns of SQuAD"}\n')
    with pytest.raises(data.DatasetError, match="lacks SQuAD's columns"):
        data.load_samples(str(folder), None, offline=False)


def test_a_broken_cache_of_squad_is_replaced_by_the_shipped_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    # Both have read their variable long ago, if another test imported them.
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "squad" / "plain_text").mkdir(parents=True)
    assert data.load_samples("squad", None, offline=True)[1] == "shipped"
