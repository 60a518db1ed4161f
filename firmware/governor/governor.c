#include "governor.h"

#include <stddef.h>

void governor_energy_init(
    governor_energy_t *governor, const governor_setting_t *settings, uint32_t count, uint64_t budget,
    uint32_t inferences)
{
    governor->settings = settings;
    governor->count = count;
    governor->inferences = inferences;
    governor->left = budget;
}

void governor_energy_add(governor_energy_t *governor, uint64_t budget, uint32_t inferences)
{
    governor->left = budget > UINT64_MAX - governor->left ? UINT64_MAX : governor->left + budget;
    governor->inferences =
        inferences > UINT32_MAX - governor->inferences ? UINT32_MAX : governor->inferences + inferences;
}

const governor_setting_t *governor_energy_next(governor_energy_t *governor)
{
    const governor_setting_t *chosen = governor->settings;
    if (governor->inferences == 0U || chosen->cost > governor->left) {
        return NULL;
    }
    for (uint32_t i = 1U; i < governor->count; i++) {
        const governor_setting_t *const setting = &governor->settings[i];
        if ((uint64_t)setting->cost * governor->inferences > governor->left) {
            break;
        }
        chosen = setting;
    }
    governor->left -= chosen->cost;
    governor->inferences--;
    return chosen;
}

void governor_margin_init(
    governor_margin_t *governor, const governor_setting_t *settings, const governor_bounds_t *bounds, uint32_t count,
    uint32_t patience)
{
    governor->settings = settings;
    governor->bounds = bounds;
    governor->count = count;
    governor->patience = patience;
    governor->setting = count - 1U;
    governor->sure = 0U;
}

const governor_setting_t *governor_margin_next(governor_margin_t *governor, uint32_t margin)
{
    const governor_bounds_t *const bounds = &governor->bounds[governor->setting];
    if (margin < bounds->low) {
        governor->sure = 0U;
        if (governor->setting + 1U < governor->count) {
            governor->setting++;
        }
    } else if (margin <= bounds->high) {
        governor->sure = 0U;
    } else if (governor->setting > 0U && ++governor->sure >= governor->patience) {
        governor->sure = 0U;
        governor->setting--;
    }
    return &governor->settings[governor->setting];
}

typedef struct {
    int32_t first;
    int32_t second;
} largest_t;

static void rank(largest_t *largest, int32_t code)
{
    if (code > largest->first) {
        largest->second = largest->first;
        largest->first = code;
    } else if (code > largest->second) {
        largest->second = code;
    }
}

static uint32_t margin_of(const largest_t *largest, uint32_t count)
{
    return count < 2U ? UINT32_MAX : (uint32_t)largest->first - (uint32_t)largest->second;
}

uint32_t governor_margin_s8(const int8_t *codes, uint32_t count)
{
    largest_t largest = {INT32_MIN, INT32_MIN};
    for (uint32_t i = 0U; i < count; i++) {
        rank(&largest, codes[i]);
    }
    return margin_of(&largest, count);
}

uint32_t governor_margin_s32(const int32_t *codes, uint32_t count)
{
    largest_t largest = {INT32_MIN, INT32_MIN};
    for (uint32_t i = 0U; i < count; i++) {
        rank(&largest, codes[i]);
    }
    return margin_of(&largest, count);
}
