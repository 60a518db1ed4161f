/*
 * Two inputs, two outputs, two switches: y[i] = K x[i] + z[i mod 8] with K of the switch; w = sum of y, 4 bytes.
 * As in generated models the inputs do not outlive the inference.
 */
#include "app_model.h"

#include <string.h>

#define LONG 64U
#define SHORT 8U
#define SUM 4U

static struct {
    uint8_t x[LONG];
    uint8_t z[SHORT];
    uint8_t y[LONG];
    uint8_t w[SUM];
} memory;

static const uint8_t factors[2] = {FIRST_FACTOR, 5U};
static uint32_t chosen;

static void init(void)
{
    chosen = 0U;
}

static app_tensor_t input(uint32_t index)
{
    const app_tensor_t tensors[2] = {{"x", memory.x, LONG}, {"z", memory.z, SHORT}};
    return tensors[index];
}

static app_tensor_t output(uint32_t index)
{
    const app_tensor_t tensors[2] = {{"y", memory.y, LONG}, {"w", memory.w, SUM}};
    return tensors[index];
}

static app_trace_t trace(uint32_t index)
{
    const app_trace_t tensor = {index, LONG, memory.y};
    return tensor;
}

static const app_switch_t switches[] = {{"slow", 1U, 1U}, {"fast", 1U, 1U}};

static uint32_t current(void)
{
    return chosen;
}

static bool set_switch(uint32_t index)
{
    if (index > 1U) {
        return false;
    }
    chosen = index;
    return true;
}

static void invoke(app_observer_t *observer, void *context)
{
    uint32_t sum = 0U;
    for (uint32_t i = 0U; i < LONG; i++) {
        memory.y[i] = (uint8_t)((uint32_t)factors[chosen] * memory.x[i] + memory.z[i % SHORT]);
        sum += memory.y[i];
    }
    for (uint32_t i = 0U; i < SUM; i++) {
        memory.w[i] = (uint8_t)(sum >> (8U * i));
    }
    memset(memory.x, 0xEE, sizeof memory.x);
    memset(memory.z, 0xEE, sizeof memory.z);
    if (observer != NULL) {
        observer(context, 0U);
    }
}

const app_model_t app_model = {
    .name = "faulty",
    .build_id = BUILD_ID,
    .inputs = 2U,
    .outputs = 2U,
    .switches = 2U,
    .init = init,
    .input = input,
    .output = output,
    .invoke = invoke,
    .trace = trace,
    .each_switch = switches,
    .current = current,
    .set_switch = set_switch,
};
