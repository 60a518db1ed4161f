/* Branches tell the model's observer when one of their layers has finished. */
#ifndef TINYGEN_BRANCH_H
#define TINYGEN_BRANCH_H

#include <stddef.h>
#include <stdint.h>

/* Functions that are not inlined or cloned: emulated boards choose a branch by writing its index where they begin. */
#if defined(__clang__)
#define TG_NOCLONE __attribute__((noinline))
#elif defined(__GNUC__)
#define TG_NOCLONE __attribute__((noinline, noclone))
#else
#define TG_NOCLONE
#endif

static inline void tg_finished(void (*observer)(void *context, uint32_t layer), void *context, uint32_t layer)
{
    if (observer != NULL) {
        observer(context, layer);
    }
}

#endif
