/*
 * A streaming model of three frames of four codes and two outputs, which depend on all that it was ever fed: y[0] is a
 * running sum, y[1] how many inferences there were. Beside it features of that kind: sums over what was heard so far.
 */
#include "app_model.h"

#include <string.h>

#define CODES 12U

static uint8_t memory[CODES];
static uint8_t outputs[2];
static uint32_t total;
static uint32_t done;

static void reset(void)
{
    total = 0U;
    done = 0U;
}

static app_tensor_t input(uint32_t index)
{
    const app_tensor_t tensor = {"x", memory, CODES};
    (void)index;
    return tensor;
}

static app_tensor_t output(uint32_t index)
{
    const app_tensor_t tensor = {"y", outputs, sizeof outputs};
    (void)index;
    return tensor;
}

static uint32_t steps(void)
{
    return done;
}

static void invoke(app_observer_t *observer, void *context)
{
    (void)observer;
    (void)context;
    for (uint32_t i = 0U; i < CODES; i++) {
        total = total * 31U + memory[i];
    }
    done++;
    outputs[0] = (uint8_t)(total >> 7);
    outputs[1] = (uint8_t)done;
    memset(memory, 0xEE, sizeof memory);
}

static app_trace_t trace(uint32_t index)
{
    const app_trace_t tensor = {index, 1U, outputs};
    return tensor;
}

static uint32_t current(void)
{
    return 0U;
}

static bool set_switch(uint32_t index)
{
    return index == 0U;
}

static const app_switch_t switches[] = {{"only", 1U, 1U}};

const app_model_t app_model = {
    .name = "listens",
    .build_id = BUILD_ID,
    .inputs = 1U,
    .outputs = 1U,
    .switches = 1U,
    .init = reset,
    .input = input,
    .output = output,
    .invoke = invoke,
    .trace = trace,
    .each_switch = switches,
    .current = current,
    .set_switch = set_switch,
    .state_bytes = 4U,
    .reset = reset,
    .steps = steps,
    .restart = reset,
};
