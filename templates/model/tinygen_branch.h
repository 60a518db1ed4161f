/* Branches tell the model's observer when one of their layers has finished. */
#ifndef TINYGEN_BRANCH_H
#define TINYGEN_BRANCH_H

#include <stddef.h>
#include <stdint.h>

static inline void tg_finished(void (*observer)(void *context, uint32_t layer), void *context, uint32_t layer)
{
    if (observer != NULL) {
        observer(context, layer);
    }
}

#endif
