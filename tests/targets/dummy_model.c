/* A model of two layers: y[i] = 2 x[i] + 1 in int8, wrapping. */
#include "app_model.h"

#include <string.h>

#include "text.h"
#include "values.h"

#define COUNT 16U

static union {
    uint64_t alignment;
    int8_t bytes[2U * COUNT];
} static_arena;

static const int8_t weights[COUNT] = {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2};

static void init(void)
{
}

static app_tensor_t input(uint32_t index)
{
    (void)index;
    const app_tensor_t tensor = {"x", static_arena.bytes, COUNT};
    return tensor;
}

static app_tensor_t output(uint32_t index)
{
    (void)index;
    const app_tensor_t tensor = {"y", static_arena.bytes + COUNT, COUNT};
    return tensor;
}

static app_trace_t trace(uint32_t index)
{
    const app_trace_t tensor = {index, COUNT, static_arena.bytes + COUNT};
    return tensor;
}

static const app_switch_t switches[] = {{"only", 2U, 2U}};

static uint32_t current(void)
{
    return 0U;
}

static bool set_switch(uint32_t index)
{
    return index == 0U;
}

static app_tensor_t arena(void)
{
    const app_tensor_t memory = {"arena", static_arena.bytes, sizeof static_arena.bytes};
    return memory;
}

static uint8_t db[COUNT];

static void load_db(void)
{
    memcpy(static_arena.bytes, db, COUNT);
}

static void results(void)
{
    static const values_scale_t scale = {1, 1, 1U << 23, -26}; /* 0.125 (y - 1), so 0.25 x */
    for (uint32_t i = 0U; i < COUNT; i++) {
        text_write(i == 0U ? "" : ",");
        values_write_code(static_arena.bytes[COUNT + i], &scale);
    }
}

static void invoke(app_observer_t *observer, void *context)
{
    int8_t *const y = static_arena.bytes + COUNT;
    for (uint32_t i = 0U; i < COUNT; i++) {
        y[i] = (int8_t)(uint8_t)((uint32_t)static_arena.bytes[i] * (uint32_t)weights[i]);
    }
    if (observer != NULL) {
        observer(context, 0U);
    }
    for (uint32_t i = 0U; i < COUNT; i++) {
        y[i] = (int8_t)(uint8_t)((uint32_t)y[i] + 1U);
    }
    if (observer != NULL) {
        observer(context, 1U);
    }
}

const app_model_t app_model = {
    .name = "dummy",
    .build_id = "0123456789abcdef",
    .inputs = 1U,
    .outputs = 1U,
    .switches = 1U,
    .init = init,
    .input = input,
    .output = output,
    .invoke = invoke,
    .trace = trace,
    .each_switch = switches,
    .current = current,
    .set_switch = set_switch,
    .arena = arena,
    .benchmark = {.id = "kws01", .db = db, .db_bytes = COUNT, .load = load_db, .results = results},
};
