"""C names for models: every symbol and file of the generated code starts with one."""

from __future__ import annotations

import re

from tinygen.errors import TinygenError

_KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while"
)
# Headers on the same include path as the model's own, and the prefixes of the names in them.
_HEADERS = (
    "app_model block board board_config check chip_registers clock commands core_registers cortex_m crc32 db esp32 "
    "family_f4_f7 family_registers features features_complex features_tables governor gpio listen measure mfcc "
    "mfcc_tables microphone microphone_driver paint part prescaler reply riscv seal serve stddef stdint stream "
    "stm32_registers string text tg thresholds tinygen_bits tinygen_blocks tinygen_branch tinygen_coded tinygen_codes "
    "tinygen_columns tinygen_dense tinygen_depthwise tinygen_dot tinygen_double tinygen_eight tinygen_extrema "
    "tinygen_fields tinygen_float tinygen_gather tinygen_groups tinygen_halves tinygen_live tinygen_math "
    "tinygen_nibbles tinygen_offset tinygen_outputs tinygen_planes tinygen_scalar tinygen_simd tinygen_sparse "
    "tinygen_stream tinygen_sums tinygen_table tinygen_unpack tinygen_upwards tinygen_widen uart usart values wakeword "
    "wakeword_config tinygen_division tinygen_elementary tinygen_interpolated tinygen_inverse_root "
    "tinygen_logarithm tinygen_gates"
)
# A model's own type is called NAME_t.
_TYPES = "int8 int16 int32 int64 intmax intptr ptrdiff size uint8 uint16 uint32 uint64 uintmax uintptr wchar"
_RESERVED = frozenset(f"{_KEYWORDS} {_HEADERS} {_TYPES}".split())


def c_name(text: str) -> str:
    """A free C identifier from any text: `kws-ref.v2` becomes `kws_ref_v2`, `int` becomes `int_model`."""
    cleaned = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower() or "model"
    if cleaned[0].isdigit():
        cleaned = f"m{cleaned}"
    return f"{cleaned}_model" if cleaned in _RESERVED else cleaned


def check_c_name(name: str) -> str:
    """The name, if it can be used in the generated C.

    Raises:
        TinygenError: the name is not an identifier, or is already used in C or in the firmware.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", name, flags=re.ASCII) or name.lower() in _RESERVED:
        raise TinygenError(f"'{name}' cannot name a model in C", where="--name", fix=f"Try --name {c_name(name)}.")
    return name
