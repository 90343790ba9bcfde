"""The child's work, run inside the test's process: training, resuming, generating, refusing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from child_worlds import GPT2, INFER, LLAMA, TRAIN, a_spec, events_of

from jetsched.profiler import child

pytest.importorskip("transformers")
torch: Any = pytest.importorskip("torch")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models on a busy machine: threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child sets what the libraries read; afterwards it is as it was."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "no-cache"))


class StopAfter(child.Stop):
    """SIGTERM that arrives when the loop has looked for it ``looks`` times."""

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self.deferred = True

    @property
    def requested(self) -> bool:  # type: ignore[override]
        self._looks -= 1
        return self._looks < 0


def run(spec: dict[str, Any], stop: child.Stop | None = None) -> dict[str, Any]:
    """The result event; everything the child raises comes out."""
    folder = Path(spec["folder"])
    child.run(spec, child.Events(str(folder)), stop or child.Stop())
    return events_of(folder)["result"][0]


def weights_of(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(path)
    return found


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["qa", "lm"])
def test_training_reports_its_work_and_keeps_the_weights(tmp_path: Path, head: str) -> None:
    result = run(a_spec(tmp_path, {**TRAIN, "head": head}))
    events = events_of(tmp_path)
    assert (result["warmup_amount"], result["amount"], result["done"]) == (4, 12, 16)
    assert result["tokens"] == 12 * 48
    assert 0 < result["phases_s"]["forward_backward"] < result["work_s"]
    assert sum(result["phases_s"].values()) == pytest.approx(result["work_s"])
    assert result["peak_memory_mib"] > 0 and result["live_memory_mib"] is None
    assert events["loaded"][0]["random_weights"] is True
    assert events["loaded"][0]["data"] == "shipped"
    assert events["progress"][-1]["done"] == 16
    last = events["progress"][-1]  # what a run that is cut short leaves behind
    assert (last["worked"], last["work_s"]) == (result["amount"], result["work_s"])
    for artefact in result["artefacts"]:
        assert (tmp_path / artefact).is_file()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["loss_last"] == result["loss_last"]


@pytest.mark.parametrize("head", ["qa", "lm"])
def test_the_loss_falls(tmp_path: Path, head: str) -> None:
    result = run(a_spec(tmp_path, {**TRAIN, "head": head, "batch_size": 8}, amount=160))
    assert result["loss_last"] < result["loss_first"]


def test_what_was_trained_can_be_loaded_again(tmp_path: Path) -> None:
    """A folder of artefacts is a model path: from there the weights are not random."""
    run(a_spec(tmp_path / "first", TRAIN))
    out = tmp_path / "first" / "out"
    spec = a_spec(tmp_path / "second", TRAIN, model_config=None, model_path=str(out))
    run({**spec, "amount": 4, "max_steps": 1})
    loaded = events_of(tmp_path / "second")["loaded"][0]
    assert (loaded["weights"], loaded["random_weights"]) == ("path", False)
    before = weights_of(out / "model.safetensors")
    after = weights_of(tmp_path / "second" / "out" / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.weight"
    # One step of AdamW moves no weight by more than the learning rate and its decay.
    assert 0 < (before[name] - after[name]).abs().max() < 1e-4


def test_the_same_seed_gives_the_same_run_and_another_seed_does_not(tmp_path: Path) -> None:
    losses = [
        run(a_spec(tmp_path / str(number), TRAIN, seed=seed))["loss_last"]
        for number, seed in enumerate((3, 3, 4))
    ]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("looks", [0, 1, 2, 3, 4, 5, 11])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path: Path, looks: int) -> None:
    """Stopped before the first step, between two steps, and in the middle of one."""
    work = {**TRAIN, "batch_size": 2, "accumulation_steps": 2}
    whole = run(a_spec(tmp_path / "whole", work, amount=18))
    with pytest.raises(child.Stopped):
        run(a_spec(tmp_path / "first", work, amount=18), StopAfter(looks))
    kept = events_of(tmp_path / "first")["checkpoint"][0]
    assert kept["done"] == 4 * kept["step"]
    second = a_spec(tmp_path / "second", work, amount=18, resume_from=kept["path"])
    resumed = run(second)
    assert resumed["done"] == 18
    assert resumed["amount"] + resumed["warmup_amount"] == 18 - kept["done"]
    assert resumed["loss_first"] == whole["loss_first"]
    assert resumed["loss_last"] == whole["loss_last"]
    one = weights_of(tmp_path / "whole" / "out" / "model.safetensors")
    two = weights_of(tmp_path / "second" / "out" / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_that_was_stopped_after_its_last_step_only_keeps_its_artefacts(
    tmp_path: Path,
) -> None:
    with pytest.raises(child.Stopped):
        run(a_spec(tmp_path / "a", TRAIN, amount=4), StopAfter(1))
    kept = events_of(tmp_path / "a")["checkpoint"][0]
    assert kept["done"] == 4
    result = run(a_spec(tmp_path / "b", TRAIN, amount=4, resume_from=kept["path"]))
    assert (result["done"], result["amount"], result["work_s"]) == (4, 0, 0)
    assert result["tokens_per_s"] is None and result["loss_last"] > 0
    assert (tmp_path / "b" / "out" / "model.safetensors").is_file()


def test_checkpoints_are_written_as_time_passes_and_one_is_kept(tmp_path: Path) -> None:
    result = run(a_spec(tmp_path, TRAIN, checkpoint_every_s=1e-9))
    steps = [event["step"] for event in events_of(tmp_path)["checkpoint"]]
    assert steps == [1, 2, 3]  # not after the last step: the artefacts are written then
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["step-0000003"]
    assert result["checkpoint_s"] > 0


def test_a_folder_of_checkpoints_can_be_resumed_from(tmp_path: Path) -> None:
    run(a_spec(tmp_path / "a", TRAIN, checkpoint_every_s=1e-9))
    result = run(a_spec(tmp_path / "b", TRAIN, resume_from=str(tmp_path / "a" / "checkpoint")))
    assert result["amount"] == 4


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run(a_spec(tmp_path / "a", TRAIN, checkpoint_every_s=1e-9))
    resume = str(tmp_path / "a" / "checkpoint")
    with pytest.raises(Exception, match="another model: transformer"):
        run(a_spec(tmp_path / "b", TRAIN, {**GPT2, "n_embd": 16}, resume_from=resume))
    with pytest.raises(Exception, match=r"another model: .* in only one"):
        run(a_spec(tmp_path / "c", TRAIN, {**GPT2, "n_layer": 3}, resume_from=resume))
    with pytest.raises(Exception, match="no complete checkpoint"):
        run(a_spec(tmp_path / "d", TRAIN, resume_from=str(tmp_path)))


def test_max_steps_bounds_the_work_and_the_rest_is_reported_as_undone(tmp_path: Path) -> None:
    result = run(a_spec(tmp_path, TRAIN, amount=400, max_steps=3))
    assert (result["done"], result["amount"]) == (12, 8)


def test_a_run_of_one_step_is_all_work(tmp_path: Path) -> None:
    """Otherwise it would leave no rate behind."""
    result = run(a_spec(tmp_path, TRAIN, amount=3))
    assert (result["amount"], result["warmup_amount"]) == (3, 0)
    assert result["work_s"] > 0


def test_more_work_than_samples_starts_over(tmp_path: Path) -> None:
    work = {**TRAIN, "dataset": "squad[:3]"}
    assert run(a_spec(tmp_path, work, amount=10))["done"] == 10


def test_lora_trains_and_keeps_the_adapters_alone(tmp_path: Path) -> None:
    work = {**TRAIN, "method": "lora", "lora_rank": 2}
    result = run(a_spec(tmp_path / "whole", work))
    assert result["artefacts"][0] == "out/adapter.safetensors"
    kept = weights_of(tmp_path / "whole" / "out" / "adapter.safetensors")
    assert kept["transformer.h.0.attn.c_attn.lora_a"].shape == (2, 32)
    assert kept["transformer.h.0.attn.c_attn.lora_b"].shape == (96, 2)
    assert kept["transformer.h.0.attn.c_attn.lora_b"].abs().max() > 0
    assert len(kept) == 2 * 2 + 2  # two layers, and the new head
    with pytest.raises(child.Stopped):
        run(a_spec(tmp_path / "first", work), StopAfter(3))
    resume = str(tmp_path / "first" / "checkpoint")
    assert (
        run(a_spec(tmp_path / "second", work, resume_from=resume))["loss_last"]
        == (result["loss_last"])
    )


def test_gradient_checkpointing_and_bf16_train_too(tmp_path: Path) -> None:
    plain = run(a_spec(tmp_path / "a", TRAIN))
    again = run(a_spec(tmp_path / "b", {**TRAIN, "gradient_checkpointing": True}))
    assert again["loss_last"] == pytest.approx(plain["loss_last"], rel=1e-5)
    low = run(a_spec(tmp_path / "c", {**TRAIN, "precision": "bf16"}))
    assert low["loss_last"] == pytest.approx(plain["loss_last"], rel=1e-2)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_another_family_trains(tmp_path: Path, method: str) -> None:
    result = run(a_spec(tmp_path, {**TRAIN, "head": "lm", "method": method}, LLAMA))
    assert result["done"] == 16


# --- inference -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_inference_answers_every_prompt(tmp_path: Path, config: dict[str, Any]) -> None:
    result = run(a_spec(tmp_path, {**INFER, "prompt_tokens": 24}, config, amount=19))
    lines = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["index"] for answer in answers] == list(range(19))
    assert answers[0]["prompt"] == answers[16]["prompt"]  # 16 are shipped; then they start over
    assert (result["warmup_amount"], result["amount"]) == (2, 17)
    assert result["tokens"] == 17 * 5
    last = events_of(tmp_path)["progress"][-1]
    assert (last["worked"], last["work_s"]) == (result["amount"], result["work_s"])
    assert 0 < result["first_token_s"] < result["work_s"]
    assert sum(result["phases_s"].values()) <= result["work_s"]


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_padding_does_not_change_an_answer(tmp_path: Path, config: dict[str, Any]) -> None:
    """The same prompt alone, padded, and beside a longer one."""
    config = {**config, "initializer_range": 0.3}  # small weights would answer all alike
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("Why?\nWhat is the difference between the two?\n")
    answers = []
    for name, changes in {
        "alone": {"batch_size": 1},
        "padded": {"batch_size": 1, "prompt_tokens": 60},
        "beside": {"batch_size": 2},
    }.items():
        spec = a_spec(tmp_path / name, {**INFER, **changes}, config, prompts_path=str(prompts))
        run({**spec, "amount": 2})
        lines = (tmp_path / name / "out" / "predictions.jsonl").read_text(encoding="utf-8")
        answers.append([json.loads(line)["text"] for line in lines.splitlines()])
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] != answers[0][1]


def test_the_loop_generates_what_transformers_does(tmp_path: Path) -> None:
    run(a_spec(tmp_path, {**TRAIN, "head": "lm"}, {**LLAMA, "initializer_range": 0.3}))
    out = tmp_path / "out"
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("What is the difference?\n")
    spec = a_spec(tmp_path / "mine", INFER, model_config=None, model_path=str(out))
    run({**spec, "amount": 1, "prompts_path": str(prompts)})
    mine = json.loads((tmp_path / "mine" / "out" / "predictions.jsonl").read_text())["text"]

    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(out)
    tokenizer = child.sibling("child_data").ByteTokenizer(300)
    ids = torch.tensor([tokenizer.encode("What is the difference?")])
    theirs = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=5,
        min_new_tokens=5,
        do_sample=False,
        eos_token_id=1,
        pad_token_id=0,
    )
    assert mine == tokenizer.decode(theirs[0, ids.shape[1] :].tolist())


def test_inference_can_be_stopped_between_two_tokens(tmp_path: Path) -> None:
    with pytest.raises(child.Stopped):
        run(a_spec(tmp_path, INFER), StopAfter(12))
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == 4  # two batches of two were done


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_inference_holds_the_weights_in_the_precision(tmp_path: Path, precision: str) -> None:
    assert run(a_spec(tmp_path, {**INFER, "precision": precision}, amount=2))["done"] == 2


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "message"),
    [
        ({**TRAIN, "precision": "fp16"}, "fp16 training needs a CUDA GPU"),
        ({**TRAIN, "precision": "int8"}, "'int8' is none of fp32, fp16, bf16"),
        ({**TRAIN, "seq_len": 512}, "seq_len is 512, but the model has only 128 positions"),
        ({**TRAIN, "seq_len": 4}, "8 or more"),
        ({**TRAIN, "method": "qlora"}, "'qlora' is none of full, lora"),
        ({**TRAIN, "head": "cls"}, "'cls' is none of qa, lm"),
        ({**TRAIN, "dataset": "me/mine"}, "'me/mine' is not on this machine"),
        ({**INFER, "prompt_tokens": 126}, "is 131, but the model has only 128"),
        ({"kind": "command", "run": "ls"}, "'command' is neither train nor infer"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(
    tmp_path: Path, work: dict[str, Any], message: str
) -> None:
    with pytest.raises(Exception, match=message):
        run(a_spec(tmp_path, work))


def test_bf16_is_refused_on_volta(monkeypatch: pytest.MonkeyPatch) -> None:
    models = child.sibling("child_model")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 2))
    with pytest.raises(models.PrecisionError, match="this one is Volta: use fp16"):
        models.check_precision("bf16", "infer", torch.device("cuda"))
    models.check_precision("fp16", "train", torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 7))
    models.check_precision("bf16", "train", torch.device("cuda"))


def test_a_family_without_a_head_for_spans_says_so(tmp_path: Path) -> None:
    phi = {**LLAMA, "model_type": "phi"}
    with pytest.raises(Exception, match="no qa head for phi models: use head lm"):
        run(a_spec(tmp_path, TRAIN, phi))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "no config of a model"),
        ({"n_embd": 2}, "no config of a model"),
        ({"model_type": "abacus"}, "knows no models of type 'abacus'"),
    ],
)
def test_a_bad_config_says_what_is_wrong(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        run(a_spec(tmp_path, TRAIN, config))


def test_a_model_that_is_nowhere_is_refused_at_once(tmp_path: Path) -> None:
    spec = a_spec(tmp_path, {**TRAIN, "model": "me/mine"}, model_config=None, hub_id="me/mine")
    with pytest.raises(Exception, match="'me/mine' is not on this machine"):
        run(spec)


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (
            RuntimeError("NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp"),
            True,
        ),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (ImportError("x.so: failed to map segment from shared object"), True),
        (ImportError("libgomp.so.1: cannot allocate memory in static TLS block"), False),
        (OSError(2, "No such file"), False),
        (ValueError("shapes differ"), False),
    ],
)
def test_running_out_of_memory_is_told_apart(error: Exception, memory: bool) -> None:
    assert child._looks_like_memory(error) is memory


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    child.Events(str(tmp_path)).emit(
        "progress", step=1, steps=1, done=1, amount=1, loss=float("nan"), phases={"a": 1}
    )
    event = events_of(tmp_path)["progress"][0]
    assert event["loss"] is None and event["phases"] == {"a": 1}


def test_the_log_says_how_far_it_is_seldom_enough_for_a_run_of_days(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = child.Events(str(tmp_path))
    for step in range(1, 1001):
        events.emit("progress", step=step, steps=1000, done=2 * step, amount=2000, loss=1 / step)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "step 1 of 1000, 2 of 2000 done, loss 1"
    assert lines[-1] == "step 1000 of 1000, 2000 of 2000 done, loss 0.001"
    assert len(lines) < 10


# --- the paper's models --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"head": "qa"}, {"head": "lm", "method": "lora"}],
    ids=["qa-full", "lm-lora"],
)
def test_distilgpt2_makes_a_step(tmp_path: Path, changes: dict[str, Any]) -> None:
    from jetsched.profiler import models

    work = {**TRAIN, **changes, "model": "distilgpt2", "batch_size": 1}
    spec = a_spec(tmp_path, work, amount=2, **models.spec_fields("distilgpt2"))
    assert run(spec)["done"] == 2
    assert events_of(tmp_path)["loaded"][0]["parameters"] > 81_000_000


# --- artefacts -----------------------------------------------------------------------------------


def test_a_benchmark_leaves_nothing_and_saving_is_no_part_of_the_work(tmp_path: Path) -> None:
    for kind in (TRAIN, INFER):
        place = tmp_path / str(kind["kind"])
        result = run(a_spec(place / "none", kind, artefacts=False))
        assert "artefacts" not in result and not (place / "none" / "out").exists()
        result = run(a_spec(place / "all", kind))
        sizes = [(place / "all" / path).stat().st_size for path in result["artefacts"]]
        assert result["artefact_bytes"] == sum(sizes) > 0 and result["saving_s"] > 0


def test_weights_are_left_out_where_they_are_not_wanted(tmp_path: Path) -> None:
    result = run(a_spec(tmp_path, {**TRAIN, "artefacts": {"weights": False}}))
    assert result["artefacts"] == ["out/config.json", "out/metrics.json"]
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_adapters_are_kept_with_what_puts_them_back(tmp_path: Path) -> None:
    from safetensors import safe_open

    run(a_spec(tmp_path, {**TRAIN, "method": "lora", "lora_rank": 4}))
    with safe_open(tmp_path / "out" / "adapter.safetensors", framework="pt") as kept:
        about, names = kept.metadata(), set(kept.keys())
    assert (about["lora_rank"], about["lora_scale"]) == ("4", "2.0")
    assert names and all(".lora_" in name or name.startswith("qa_outputs.") for name in names)


def test_inference_leaves_its_answers_and_its_figures(tmp_path: Path) -> None:
    result = run(a_spec(tmp_path, INFER))
    assert result["artefacts"] == ["out/predictions.jsonl", "out/metrics.json"]
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["done"] == result["done"] == 16


@pytest.mark.parametrize("keep", [1, 2])
def test_so_many_checkpoints_stay_as_were_asked_for(tmp_path: Path, keep: int) -> None:
    work = {**TRAIN, "checkpoint_keep": keep}
    run(a_spec(tmp_path, work, amount=24, checkpoint_every_s=1e-9))
    steps = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    assert steps == [f"step-{n:07d}" for n in range(6 - keep, 6)]


def test_weights_as_a_pickle_are_not_read(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(GPT2))
    (model / "pytorch_model.bin").write_bytes(b"whatever")
    with pytest.raises(Exception, match="pickle"):
        run(a_spec(tmp_path / "run", TRAIN, model_config=None, model_path=str(model)))
