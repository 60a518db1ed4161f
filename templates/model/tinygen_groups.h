/*
 * Products of rows in which a few weights of each group are alive (N:M), and where in their group they stand.
 */
#ifndef TINYGEN_GROUPS_H
#define TINYGEN_GROUPS_H

#include <stdint.h>

#include "tinygen_dot.h"
#include "tinygen_simd.h"
#include "tinygen_sparse.h"

/*
 * Four weights of groups of which only some are alive: where they stand in their groups is in the bytes of `at`, the
 * groups are n0 to n3 bytes behind x. `word` has the weights as 0, 2, 1, 3; the second two products are added by the
 * next four, or by TG_CHOSEN_END. They are added to sum0.
 */
#if TG_DUAL_ISSUE
#define TG_CHOSEN_LOCALS(TYPE)                                                                               \
    const TYPE *p, *q;                                                                                       \
    uint32_t a, b, c = 0, d = 0, u, v = 0, e, at, places
#define TG_CHOSEN(CODE, x, at, word, n0, n1, n2, n3)                                                         \
    TG_STEP_0(p, x, at);                                                                                     \
    tg_mac_bb(&sum0, v, c);                                                                                  \
    TG_STEP(q, x, at, 1);                                                                                    \
    tg_mac_tb(&sum0, v, d);                                                                                  \
    TG_EVEN_BYTES(u, word);                                                                                  \
    CODE(a, p, n0);                                                                                          \
    TG_STEP(p, x, at, 2);                                                                                    \
    CODE(b, q, n1);                                                                                          \
    TG_STEP(q, x, at, 3);                                                                                    \
    tg_mac_bb(&sum0, u, a);                                                                                  \
    TG_ODD_BYTES(v, word);                                                                                   \
    CODE(c, p, n2);                                                                                          \
    tg_mac_tb(&sum0, u, b);                                                                                  \
    CODE(d, q, n3)
#define TG_CHOSEN_END()                                                                                      \
    tg_mac_bb(&sum0, v, c);                                                                                  \
    tg_mac_tb(&sum0, v, d)
#else
#define TG_CHOSEN_LOCALS(TYPE)                                                                               \
    const TYPE *p, *q, *r, *s;                                                                               \
    uint32_t a, b, c, d, u, v, e, at, places
#define TG_CHOSEN(CODE, x, at, word, n0, n1, n2, n3)                                                         \
    TG_STEP_0(p, x, at);                                                                                     \
    TG_STEP(q, x, at, 1);                                                                                    \
    TG_STEP(r, x, at, 2);                                                                                    \
    TG_STEP(s, x, at, 3);                                                                                    \
    TG_EVEN_BYTES(u, word);                                                                                  \
    TG_ODD_BYTES(v, word);                                                                                   \
    CODE(a, p, n0);                                                                                          \
    CODE(b, q, n1);                                                                                          \
    CODE(c, r, n2);                                                                                          \
    CODE(d, s, n3);                                                                                          \
    tg_mac_bb(&sum0, u, a);                                                                                  \
    tg_mac_tb(&sum0, u, b);                                                                                  \
    tg_mac_bb(&sum0, v, c);                                                                                  \
    tg_mac_tb(&sum0, v, d)
#define TG_CHOSEN_END()
#endif

/*
 * Each four codes as the six pairs that can be chosen of them: 0 1, 0 2, 0 3, 1 2, 1 3, 2 3. The last four are filled
 * with zeros.
 */
TG_INLINE void tg_extend_choices(uint32_t *to, const int8_t *from, int32_t count)
{
    for (int32_t i = 0; i < count; i += 4, to += 6) {
        uint32_t word = 0;
        TG_COPY(&word, from + i, count - i < 4 ? (uint32_t)(count - i) : 4U);
        const uint32_t even = tg_sxtb16(word);
        const uint32_t odd = tg_sxtb16_odd(word);
        to[0] = (even & 0xFFFFU) | (odd << 16);
        to[1] = even;
        to[2] = (even & 0xFFFFU) | (odd & 0xFFFF0000U);
        to[3] = (odd & 0xFFFFU) | (even & 0xFFFF0000U);
        to[4] = odd;
        to[5] = (even >> 16) | (odd & 0xFFFF0000U);
    }
}

/*
 * Two weights each of four groups of four: the bytes of `at` say which of their six pairs, from tg_extend_choices().
 * The words have two groups each, as bytes 0 and 2, and 1 and 3. They are added to sum0.
 */
#if TG_DUAL_ISSUE
#define TG_CHOSEN_PAIRS_LOCALS()                                                                             \
    const uint8_t *p, *q;                                                                                    \
    uint32_t a, b, u, v, e, f, at, places
#define TG_CHOSEN_PAIRS(x, at, g, first, second)                                                             \
    TG_STEP_0(p, x, at);                                                                                     \
    TG_STEP(q, x, at, 1);                                                                                    \
    TG_EVEN_BYTES(u, first);                                                                                 \
    TG_WORD(a, p, 6 * (g));                                                                                  \
    TG_STEP(p, x, at, 2);                                                                                    \
    TG_WORD(b, q, 6 * (g) + 6);                                                                              \
    TG_STEP(q, x, at, 3);                                                                                    \
    tg_mac(&sum0, u, a);                                                                                     \
    TG_ODD_BYTES(v, first);                                                                                  \
    TG_WORD(a, p, 6 * (g) + 12);                                                                             \
    TG_EVEN_BYTES(u, second);                                                                                \
    tg_mac(&sum0, v, b);                                                                                     \
    TG_ODD_BYTES(v, second);                                                                                 \
    TG_WORD(b, q, 6 * (g) + 18);                                                                             \
    tg_mac(&sum0, u, a);                                                                                     \
    tg_mac(&sum0, v, b)
#else
#define TG_CHOSEN_PAIRS_LOCALS()                                                                             \
    const uint8_t *p, *q, *r, *s;                                                                            \
    uint32_t a, b, c, d, u, v, e, f, at, places
#define TG_CHOSEN_PAIRS(x, at, g, first, second)                                                             \
    TG_STEP_0(p, x, at);                                                                                     \
    TG_STEP(q, x, at, 1);                                                                                    \
    TG_STEP(r, x, at, 2);                                                                                    \
    TG_STEP(s, x, at, 3);                                                                                    \
    TG_EVEN_BYTES(u, first);                                                                                 \
    TG_ODD_BYTES(v, first);                                                                                  \
    TG_WORD(a, p, 6 * (g));                                                                                  \
    TG_WORD(b, q, 6 * (g) + 6);                                                                              \
    TG_WORD(c, r, 6 * (g) + 12);                                                                             \
    TG_WORD(d, s, 6 * (g) + 18);                                                                             \
    tg_mac(&sum0, u, a);                                                                                     \
    TG_EVEN_BYTES(u, second);                                                                                \
    tg_mac(&sum0, v, b);                                                                                     \
    TG_ODD_BYTES(v, second);                                                                                 \
    tg_mac(&sum0, u, c);                                                                                     \
    tg_mac(&sum0, v, d)
#endif

#endif
