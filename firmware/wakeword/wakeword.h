/*
 * Listens for words: takes sound hop by hop, makes features of it (audio/features.h), gives them to the model, and
 * averages what that says. What depends on model and words is in wakeword_config.h.
 */
#ifndef WAKEWORD_H
#define WAKEWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "audio/features.h"
#include "wakeword/wakeword_config.h"

/* What one hop came to. */
typedef struct {
    uint32_t number; /* of the hop, from 0 */
    bool ran;        /* whether the model did; the four below are of its last run, 0 before the first */
    bool detected;   /* only where the model ran */
    uint32_t label;  /* of the outputs, the one with the largest sum; the first of several */
    int32_t sum;     /* of that output's last WAKEWORD_WINDOW codes, or as many as there are */
    wakeword_code_t codes[WAKEWORD_OUTPUTS];
    uint32_t frontend_cycles;
    uint32_t inference_cycles; /* 0 where the model did not run */
} wakeword_hop_t;

/* Forgets all sound: the next hop is number 0. */
void wakeword_reset(void);

/* How many hops there were. */
uint32_t wakeword_hops(void);

/* Whether something else had the model run, or forget, since the last hop: then the next one means nothing. */
bool wakeword_is_disturbed(void);

wakeword_hop_t wakeword_hop(const int16_t samples[FEATURES_HOP_SAMPLES]);

#endif
