/*
 * Counts executed basic blocks inside the emulator. Called once per block, so it must be short: a table
 * keyed by bucket and address holds how often each block ran. Buckets: 0 outside inference, 1 the
 * observer between layers, 2 + n layer n. Built on first use and loaded by native.py, whose Counter
 * mirrors the struct below.
 */
#include <stdint.h>

#define SLOTS 65536U
#define REGISTER_LR 10 /* UC_ARM_REG_LR */
#define OUTSIDE 0U
#define OBSERVER 1U
#define FIRST_LAYER 2U

typedef struct {
    uint64_t count;
    uint32_t address;
    uint32_t bucket; /* bucket + 1; 0 marks a free slot */
    uint32_t instructions;
    uint32_t size;
} block_t;

typedef struct {
    int (*reg_read)(void *uc, int id, void *value);
    int (*mem_read)(void *uc, uint64_t address, void *bytes, uint64_t size);
    int (*emu_stop)(void *uc);
    uint64_t total;    /* instructions since reset */
    uint64_t limit;    /* stops the emulator when total reaches it */
    uint32_t limited;  /* set then */
    uint32_t invoke;   /* entry of an inference */
    uint32_t observer; /* entry of the observer */
    uint32_t invoke_return;
    uint32_t observer_return;
    uint32_t bucket;
    uint32_t layer;
    uint32_t lost; /* blocks that found the table full */
    block_t blocks[SLOTS];
} counter_t;

static uint32_t return_address(const counter_t *c, void *uc)
{
    uint32_t lr = 0U;
    c->reg_read(uc, REGISTER_LR, &lr);
    return lr & ~1U;
}

static uint32_t count_instructions(const counter_t *c, void *uc, uint64_t address, uint32_t size)
{
    uint8_t code[4096];
    uint32_t instructions = 0U;
    const uint32_t bytes = size < sizeof code ? size : (uint32_t)sizeof code;
    if (c->mem_read(uc, address, code, bytes) != 0) {
        return size / 2U;
    }
    for (uint32_t i = 0U; i + 1U < bytes; instructions++) {
        const uint32_t prefix = (uint32_t)code[i + 1U] >> 3;
        i += prefix >= 0x1DU ? 4U : 2U;
    }
    return instructions;
}

static block_t *find(counter_t *c, uint32_t address, uint32_t bucket)
{
    uint32_t slot = ((address >> 1) * 2654435761U + bucket * 40503U) % SLOTS;
    for (uint32_t tries = 0U; tries < SLOTS; tries++, slot = (slot + 1U) % SLOTS) {
        block_t *b = &c->blocks[slot];
        if (b->bucket == 0U || (b->address == address && b->bucket == bucket + 1U)) {
            return b;
        }
    }
    return 0;
}

static void mark(counter_t *c, void *uc, uint32_t address)
{
    if (address == c->observer_return) {
        c->observer_return = 0U;
        c->layer++;
        c->bucket = FIRST_LAYER + c->layer;
    }
    /* Both at once when the last observer call is a tail call. */
    if (address == c->invoke_return) {
        c->invoke_return = 0U;
        c->bucket = OUTSIDE;
    }
    if (address == c->invoke) {
        c->invoke_return = return_address(c, uc);
        c->layer = 0U;
        c->bucket = FIRST_LAYER;
    } else if (address == c->observer && c->bucket >= FIRST_LAYER) {
        c->observer_return = return_address(c, uc);
        c->bucket = OBSERVER;
    }
}

void tinygen_on_block(void *uc, uint64_t address, uint32_t size, void *user)
{
    counter_t *c = user;
    mark(c, uc, (uint32_t)address);
    block_t *b = find(c, (uint32_t)address, c->bucket);
    if (b == 0) {
        c->lost++;
        return;
    }
    if (b->bucket == 0U || b->size != size) {
        if (b->bucket == 0U) {
            b->address = (uint32_t)address;
            b->bucket = c->bucket + 1U;
        }
        b->size = size;
        b->instructions = count_instructions(c, uc, address, size);
    }
    b->count++;
    c->total += b->instructions;
    if (c->total >= c->limit) {
        c->limited = 1U;
        c->emu_stop(uc);
    }
}
