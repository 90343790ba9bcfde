"""tools/bench_costs.py: the families that are held out, and other people's tables as rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "cost"

#: Run in a process of its own: the tools lie beside each other, not in a package.
ASK = """
import sys
from pathlib import Path
from cost_tables import agx_frameworks, family, xavier_clocks
print(sorted({family(name) for name in (
    "NVIDIA_A100-PCIE-40GB", "NVIDIA A100-SXM4-80GB", "AMD_Instinct_MI210",
    "AMD_Instinct_MI250", "AMD_Instinct_MI100", "Tesla_T4")}))
if len(sys.argv) > 1:
    data = Path(sys.argv[1])
    llm = agx_frameworks(data / "agx_orin_frameworks.csv")
    print(len(llm), sorted({row.kind for row in llm}), sorted({row.framework for row in llm}))
    clocks = xavier_clocks(data / "xavier_dvfs.csv")
    print(len(clocks), sorted({row.board for row in clocks}), len({row.device for row in clocks}))
"""


def ask(*words: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-c", ASK, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tools")},
    )
    return found.stdout.splitlines()


def test_cards_of_one_family_are_held_out_together() -> None:
    assert ask() == ["['A100', 'AMD_Instinct_MI100', 'MI210 / MI250', 'Tesla_T4']"]


@pytest.mark.skipif(not DATA.exists(), reason="the tables of others are not here")
def test_every_row_of_the_other_tables_is_used() -> None:
    """859 decodes and 102 prefills: those that come out of a prefix cache are left out."""
    _, llm, clocks = ask(str(DATA))
    assert llm == "961 ['decode', 'prefill'] ['llamacpp', 'pytorch', 'sglang', 'trtllm', 'vllm']"
    assert clocks == "2185 ['AGX', 'NX', 'Nano'] 40"
