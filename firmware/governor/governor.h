/*
 * Chooses the switch of a switchable network, or the thresholds of a network that decides: by the energy that is left,
 * or by how sure the last answer was.
 * An example that works as it is: integers only, no division, no state but the caller's, portable C99.
 *
 * A ladder lists them from the cheapest to the dearest. `tinygen build` writes one for the network that it
 * built (NAME_ladder.c), with the cost of an inference that it predicts for the board.
 *
 *     governor_energy_t budget;
 *     governor_energy_init(&budget, kws_ladder, KWS_SWITCHES, 50000000U, 10000U);  // 50 mJ for 10,000 inferences
 *     ...
 *     const governor_setting_t *setting = governor_energy_next(&budget);
 *     if (setting != NULL) {
 *         kws_set_switch(model, setting->which);
 *         ... write the input, kws_invoke(model), read the output
 *     }
 *
 * A network with thresholds that was built with --profile has a ladder of settings of them: call
 * exits_ladder_set(model, setting->which) instead of kws_set_switch, with EXITS_LADDER_SETTINGS as the count. The cost
 * of such a setting is the mean over the data set of the build, so the budget is kept in the mean over inputs like
 * those.
 *
 * Who wants both asks both, and takes the setting that comes first in the ladder.
 */
#ifndef GOVERNOR_H
#define GOVERNOR_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint32_t which; /* the switch, for NAME_set_switch(); the setting of thresholds, for NAME_ladder_set() */
    uint32_t cost;  /* of one inference: nanojoules; cycles where the board's current is not known */
} governor_setting_t;

/* Spends a budget on a number of inferences. Read it, but let the functions below change it. */
typedef struct {
    const governor_setting_t *settings; /* costs never fall from one to the next */
    uint32_t count;                     /* at least 1 */
    uint32_t inferences;                /* still to be made from what is left */
    uint64_t left;                      /* in the unit of the costs */
} governor_energy_t;

void governor_energy_init(
    governor_energy_t *governor, const governor_setting_t *settings, uint32_t count, uint64_t budget,
    uint32_t inferences);

/* More of both, from a harvester, or at the start of another day. Neither grows beyond its type. */
void governor_energy_add(governor_energy_t *governor, uint64_t budget, uint32_t inferences);

/*
 * The setting for the next inference, whose cost is taken off: the dearest one that could be kept for all inferences
 * still to be made. What cheap inferences save so goes to later ones. When the budget is too small for that many, it
 * is the cheapest for as long as it lasts. NULL when the budget does not pay for the cheapest, or none is to be made.
 */
const governor_setting_t *governor_energy_next(governor_energy_t *governor);

/* When an answer is doubtful and when it is sure: bounds of its margin, in codes of the output; low <= high. */
typedef struct {
    uint32_t low;
    uint32_t high;
} governor_bounds_t;

/* Climbs when an answer is doubtful, descends after `patience` sure ones in a row. */
typedef struct {
    const governor_setting_t *settings;
    const governor_bounds_t *bounds; /* one per setting: outputs may have another scale in each switch */
    uint32_t count;                  /* of settings, at least 1 */
    uint32_t patience;
    uint32_t setting; /* where it stands */
    uint32_t sure; /* sure answers in a row */
} governor_margin_t;

/* Starts on the dearest setting. */
void governor_margin_init(
    governor_margin_t *governor, const governor_setting_t *settings, const governor_bounds_t *bounds, uint32_t count,
    uint32_t patience);

/*
 * The setting for the next inference, from the margin of the last answer. Below `low` it is the next dearer one, at
 * once (the caller may run the same input again); above `high`, for the `patience`-th time in a row, the next cheaper
 * one; between the bounds the same.
 */
const governor_setting_t *governor_margin_next(governor_margin_t *governor, uint32_t margin);

/* The difference of the two largest of `count` codes; UINT32_MAX when there are fewer than two. */
uint32_t governor_margin_s8(const int8_t *codes, uint32_t count);
uint32_t governor_margin_s32(const int32_t *codes, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif
