"""The C that runs generated models one after the other, in a program for the host or for an emulated core."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen.lowering.program import Io, Program

_TABLE = """
/* One function calls all models, whose own functions lie in a table: compilers take longer for calls than for data. */
typedef void batch_any_t(void);
typedef void *batch_init_t(void *arena, size_t bytes);
typedef void batch_invoke_t(void *model);
typedef void *batch_place_t(void *model);
typedef struct {{
    int samples;
    int keep;
    size_t bytes;
    batch_init_t *init;
    batch_invoke_t *invoke;
    int inputs;
    int outputs;
    struct {{
        batch_place_t *place;
        size_t bytes;
    }} ports[{most}];
}} batch_model_t;
static const batch_model_t batch_models[] = {{
{rows}
}};
#if defined(__clang__)
__attribute__((no_sanitize("function"))) /* models have types of their own, and all are called by one type */
#endif
static void run(const batch_model_t *model)
{{
    void *arena = NULL;
    void *m = NULL;
    for (int n = 0; n < model->samples; n++) {{
        if (n == 0 || !model->keep) {{
            given_back(arena);
            arena = taken(model->bytes);
            m = model->init(arena, arena == NULL ? 0 : model->bytes);
        }}
        for (int i = 0; i < model->inputs; i++) {{
            get(model->ports[i].place(m), model->ports[i].bytes);
        }}
        model->invoke(m);
        for (int i = model->inputs; i < model->inputs + model->outputs; i++) {{
            put(model->ports[i].place(m), model->ports[i].bytes);
        }}
    }}
    given_back(arena);
}}
"""


def run_table(programs: Sequence[Program], counts: Sequence[int], *, keep: bool = False) -> str:
    """The table `batch_models` of programs with inputs and outputs in the arena, and `run`, which runs one of them.

    Nothing where no program has both there.

    What comes before it has `get(data, bytes)` and `put(data, bytes)`, for inputs and outputs, and `taken(bytes)` and
    `given_back(arena)`, for an arena; one of NULL stands for the model's own.

    Args:
        counts: of samples, per program.
        keep: states, from one sample to the next.
    """
    if all(program.io != Io.ARENA for program in programs):
        return ""
    rows = [
        _row(program, count, keep) if program.io == Io.ARENA else "    {.samples = 0},"
        for program, count in zip(programs, counts, strict=True)
    ]
    most = max(len(program.inputs) + len(program.outputs) for program in programs)
    return _TABLE.format(rows="\n".join(rows), most=most)


def _row(program: Program, count: int, keep: bool) -> str:
    name = program.graph.name
    inputs, outputs = _functions(program, "input"), _functions(program, "output")
    sizes = [tensor.nbytes for tensor in (*program.inputs, *program.outputs)]
    places = [_as("batch_place_t", function) for function in (*inputs, *outputs)]
    ports = ", ".join(f"{{{place}, {size}}}" for place, size in zip(places, sizes, strict=True))
    init, invoke = _as("batch_init_t", f"{name}_init"), _as("batch_invoke_t", f"{name}_invoke")
    head = f"{count}, {int(keep)}, {name.upper()}_ARENA_BYTES, {init}, {invoke}"
    return f"    {{{head}, {len(inputs)}, {len(outputs)}, {{{ports}}}}},"


def _as(kind: str, function: str) -> str:
    return f"({kind} *)(batch_any_t *){function}"


def _functions(program: Program, kind: str) -> list[str]:
    tensors = program.inputs if kind == "input" else program.outputs
    name = program.graph.name
    return [f"{name}_{kind}"] if len(tensors) == 1 else [f"{name}_{kind}_{i}" for i in range(len(tensors))]
