"""Issue cycles of a function, block by block: `python -m tinygen.targets.cycles ELF SYMBOL --core cortex-m7`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from elftools.elf.elffile import ELFFile

from tinygen.errors import BoardError, TinygenError
from tinygen.targets.cycles import CORES, decoder_of, pipeline_of
from tinygen.targets.cycles.elf_code import ElfCode
from tinygen.targets.cycles.instruction import Instruction
from tinygen.targets.cycles.pipeline import Pipeline, steady_state


def function_bytes(elf: Path, symbol: str) -> tuple[int, bytes]:
    """Address and code of a function, up to its first constant pool.

    Raises:
        BoardError: the ELF has no such function.
    """
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        entries = list(table.iter_symbols()) if table else []
    found = [s for s in entries if s.name == symbol and s["st_info"]["type"] == "STT_FUNC"]
    if not found:
        raise BoardError(f"has no function '{symbol}'", where=str(elf), fix="Names are those of arm-none-eabi-nm.")
    start, size = int(found[0]["st_value"]) & ~1, int(found[0]["st_size"])
    pools = [int(s["st_value"]) for s in entries if s.name.startswith("$d") and start < s["st_value"] < start + size]
    end = min([start + size, *pools])
    return start, ElfCode(elf).read(start, end - start)


def split_blocks(code: Sequence[Instruction]) -> list[list[Instruction]]:
    """Basic blocks: each starts at a branch target or behind a branch."""
    starts = {i.target for i in code if i.target is not None and not i.is_call}
    blocks: list[list[Instruction]] = [[]]
    for instruction in code:
        if blocks[-1] and (instruction.address in starts or blocks[-1][-1].writes_pc):
            blocks.append([])
        blocks[-1].append(instruction)
    return [block for block in blocks if block]


def describe(pipeline: Pipeline, block: Sequence[Instruction]) -> list[str]:
    """A block as text: cycle, address, instruction, reason for its stall."""
    schedule = pipeline.schedule(block)
    lines, last = [], -1
    for issued in schedule.issued:
        cycle = f"{issued.cycle:4}" if issued.cycle != last else "   +"
        last = issued.cycle
        lines.append(f"{cycle}  {issued.instruction.address:08x}  {issued.instruction.text:<36} {issued.why}".rstrip())
    total = f"{schedule.cycles} cycles for {len(block)} instructions"
    if block[-1].target == block[0].address:
        total += f"; {steady_state(pipeline, block)} each pass as a loop, beside what the branch costs"
    return [*lines, f"      {total}", ""]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the schedule; 1 when the ELF or the core is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tinygen.targets.cycles", description=__doc__)
    parser.add_argument("elf", type=Path)
    parser.add_argument("symbol")
    parser.add_argument("--core", default="cortex-m7", help=", ".join(CORES))
    options = parser.parse_args(arguments)
    try:
        pipeline = pipeline_of(options.core)
        start, code = function_bytes(options.elf, options.symbol)
        for block in split_blocks(decoder_of(options.core)(code, start)):
            print("\n".join(describe(pipeline, block)))
    except (TinygenError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
