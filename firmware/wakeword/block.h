/* Blocks of sound from the computer: listen.h says what one is. */
#ifndef BLOCK_H
#define BLOCK_H

#include <stdint.h>

#include "audio/features.h"

typedef struct {
    uint32_t count; /* of samples: a hop's, or 0 */
    uint32_t hop;
    int16_t samples[FEATURES_HOP_SAMPLES];
} block_t;

typedef enum { BLOCK_WHOLE, BLOCK_DAMAGED, BLOCK_NONE } block_result_t;

/* The next block. BLOCK_NONE: nothing came within timeout_ms. What is damaged is read until the line is silent. */
block_result_t block_receive(block_t *block, uint32_t session, uint32_t timeout_ms);

#endif
