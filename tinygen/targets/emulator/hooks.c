/*
 * What the emulator calls while the firmware runs: once per executed basic block, and in a strict run
 * once per instruction. So it must be short. A table keyed by bucket and address holds how often each
 * block ran; buckets: 0 outside inference, 1 the observer between layers, 2 + n layer n. Built on first
 * use and loaded by native.py, whose classes mirror the structs below; fallback.py does the same in
 * Python where there is no compiler.
 */
#include <stdint.h>

#define SLOTS 65536U
#define REGISTERS 32U
#define BASES 65536U
#define NO_BASE 16U
#define OUTSIDE 0U
#define OBSERVER 1U
#define FIRST_LAYER 2U
#define ORDER 4096U
#define ARM_SECOND 1U    /* registers with a function's second argument: of an observer, the layer */
#define RISCV_SECOND 11U

#define FPU_ON 1U      /* CPACR lets floating point through */
#define FPU_DOUBLE 2U  /* the core has double precision */
#define ATOMIC 4U      /* the core has RISC-V's atomic operations */
#define ILLEGAL_FPU_OFF 1U
#define ILLEGAL_DOUBLE 2U
#define ILLEGAL_UNALIGNED 3U
#define ILLEGAL_FLOAT 4U
#define ILLEGAL_ATOMIC 5U

/* Caches before slow memories, see stalls.py. */
#define LINES 2048U
#define REGIONS 8U
#define ACCESSES 65536U
#define NO_REGISTER 255U

typedef struct {
    uint32_t start;
    uint32_t end;
    uint32_t miss; /* cycles */
} region_t;

typedef struct {
    uint32_t line; /* bytes */
    uint32_t ways;
    uint32_t sets;
    uint32_t regions;
    region_t region[REGIONS];
    uint32_t lines[LINES];   /* number of the line there + 1; 0 for none */
    uint32_t victims[LINES]; /* of each set: the way that is replaced next */
} cache_t;

/* What a block reads: size bytes at r[base] + (r[index] << shift) + offset. A size of 0 ends a block's list. */
typedef struct {
    uint32_t offset;
    uint32_t size;
    uint8_t base;
    uint8_t index;
    uint8_t shift;
    uint8_t reserved;
} access_t;

typedef struct {
    uint64_t count;
    uint64_t stalls; /* cycles lost to memory in all passes */
    uint32_t address;
    uint32_t bucket; /* bucket + 1; 0 marks a free slot */
    uint32_t instructions;
    uint32_t cycles; /* of one pass */
    uint32_t size;
    uint32_t accesses; /* index of the first */
} block_t;

typedef struct {
    uint32_t address;
    uint32_t base; /* register through which the instruction there accesses aligned memory, or NO_BASE */
} base_t;

typedef struct {
    int (*reg_read)(void *uc, int id, void *value);
    int (*mem_read)(void *uc, uint64_t address, void *bytes, uint64_t size);
    int (*emu_stop)(void *uc);
    uint32_t (*cost)(uint32_t address, uint32_t size, uint32_t instructions); /* cycles; 0: one each */
    uint64_t total;    /* instructions since reset */
    uint64_t cycles;   /* since reset */
    uint64_t limit;    /* stops the emulator when total reaches it */
    uint32_t limited;  /* set then */
    uint32_t invoke;   /* entry of an inference */
    uint32_t observer; /* entry of the observer */
    uint32_t invoke_return;
    uint32_t observer_return;
    uint32_t bucket;
    uint32_t layer;
    uint32_t lost;     /* blocks that found the table full */
    uint32_t riscv;    /* the code is RISC-V's, not Thumb */
    uint32_t link;     /* register with the return address of a call */
    int32_t registers[REGISTERS]; /* Unicorn's numbers of them */
    uint32_t features; /* FPU_*, ATOMIC */
    uint32_t illegal;  /* ILLEGAL_* that stopped the emulator */
    uint32_t illegal_pc;
    uint32_t illegal_address; /* the unaligned base address */
    uint32_t timed;        /* whether the caches are looked up */
    uint32_t shared;       /* whether `code` is the cache of data, too */
    uint32_t new_accesses; /* index of the first access of the block that cost was asked for last */
    uint32_t last_block;   /* slot of the block that ran last */
    cache_t code;
    cache_t data;
    access_t accesses[ACCESSES];
    block_t blocks[SLOTS];
    base_t bases[BASES];
    uint32_t told; /* calls of the observer in this inference */
    uint32_t finished[ORDER]; /* the layer that each told of */
} counter_t;

static uint32_t halfword(const uint8_t *code, uint32_t at)
{
    return (uint32_t)code[at] | (uint32_t)code[at + 1U] << 8;
}

/* Arithmetic on doubles, and conversion from and to them (DDI 0403 A6.4): not in a single-precision FPU. */
static int is_double_precision(uint32_t first, uint32_t second)
{
    const int arithmetic = (first & 0xEF00U) == 0xEE00U && (second & 0x0F10U) == 0x0B00U;
    const int conversion = (first & 0xFFBFU) == 0xEEB7U && (second & 0x0ED0U) == 0x0AC0U;
    return arithmetic || conversion;
}

/*
 * Floating point and atomic operations of RISC-V, by major opcode, and the compressed loads and stores of floats
 * (RISC-V unprivileged architecture, RV32/64G instruction listings): not in cores without F, D and A.
 */
static uint32_t illegal_riscv(uint32_t features, uint32_t first)
{
    const uint32_t opcode = first & 0x7FU;
    if ((first & 3U) != 3U) {
        return (first & 1U) == 0U && (first & 0x2000U) != 0U ? ILLEGAL_FLOAT : 0U; /* odd funct3 in quadrants 0 and 2 */
    }
    if (opcode == 0x2FU) {
        return (features & ATOMIC) == 0U ? ILLEGAL_ATOMIC : 0U;
    }
    return opcode == 0x07U || opcode == 0x27U || (opcode >= 0x43U && opcode <= 0x53U) ? ILLEGAL_FLOAT : 0U;
}

static uint32_t illegal_thumb(uint32_t features, uint32_t first, uint32_t second)
{
    const int floating = (first & 0xEC00U) == 0xEC00U && (second & 0x0E00U) == 0x0A00U;
    if (floating && (features & FPU_ON) == 0U) {
        return ILLEGAL_FPU_OFF;
    }
    if ((features & FPU_DOUBLE) == 0U && is_double_precision(first, second)) {
        return ILLEGAL_DOUBLE;
    }
    return 0U;
}

/* Counts the instructions of a block seen for the first time, and looks whether the core has them all. */
static uint32_t examine(counter_t *c, void *uc, uint32_t address, uint32_t size)
{
    uint8_t code[4096];
    uint32_t instructions = 0U;
    const uint32_t bytes = size < sizeof code ? size : (uint32_t)sizeof code;
    if (c->mem_read(uc, address, code, bytes) != 0) {
        return size / 2U;
    }
    for (uint32_t i = 0U; i + 1U < bytes; instructions++) {
        const uint32_t first = halfword(code, i);
        const int wide = c->riscv != 0U ? (first & 3U) == 3U : first >> 11 >= 0x1DU;
        uint32_t illegal = 0U;
        if (c->riscv != 0U) {
            illegal = illegal_riscv(c->features, first);
        } else if (wide && i + 3U < bytes) {
            illegal = illegal_thumb(c->features, first, halfword(code, i + 2U));
        }
        if (illegal != 0U && c->illegal == 0U) {
            c->illegal = illegal;
            c->illegal_pc = address + i;
        }
        i += wide ? 4U : 2U;
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

static uint32_t core_register(const counter_t *c, void *uc, uint32_t number)
{
    uint32_t value = 0U;
    c->reg_read(uc, (int)c->registers[number], &value);
    return value;
}

/* On Arm bit 0 says Thumb; on RISC-V it is 0 anyway. */
static uint32_t return_address(const counter_t *c, void *uc)
{
    return core_register(c, uc, c->link) & ~1U;
}

static int is_missing(cache_t *cache, uint32_t number)
{
    const uint32_t set = number % cache->sets;
    uint32_t *lines = &cache->lines[set * cache->ways];
    for (uint32_t way = 0U; way < cache->ways; way++) {
        if (lines[way] == number + 1U) {
            return 0;
        }
    }
    lines[cache->victims[set]] = number + 1U;
    cache->victims[set] = (cache->victims[set] + 1U) % cache->ways;
    return 1;
}

/* Cycles that reading costs beyond a hit. */
static uint32_t read_through(cache_t *cache, uint32_t address, uint32_t size)
{
    for (uint32_t i = 0U; i < cache->regions; i++) {
        const region_t *region = &cache->region[i];
        if (address >= region->start && address < region->end) {
            uint32_t cycles = 0U;
            const uint32_t last = (address + (size > 0U ? size : 1U) - 1U) / cache->line;
            for (uint32_t number = address / cache->line; number <= last; number++) {
                cycles += is_missing(cache, number) ? region->miss : 0U;
            }
            return cycles;
        }
    }
    return 0U;
}

static uint32_t stalls_of(counter_t *c, void *uc, const block_t *b)
{
    const uint32_t slot = (uint32_t)(b - c->blocks) + 1U;
    /* What has just run is still there: loops need no look. */
    uint32_t cycles = slot == c->last_block ? 0U : read_through(&c->code, b->address, b->size);
    c->last_block = slot;
    cache_t *data = c->shared != 0U ? &c->code : &c->data;
    for (const access_t *a = &c->accesses[b->accesses]; a->size != 0U; a++) {
        uint32_t start = a->offset;
        start += a->base == NO_REGISTER ? 0U : core_register(c, uc, a->base);
        start += a->index == NO_REGISTER ? 0U : core_register(c, uc, a->index) << a->shift;
        cycles += read_through(data, start, a->size);
    }
    return cycles;
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
        c->told = 0U;
        c->bucket = FIRST_LAYER;
    } else if (address == c->observer && c->bucket >= FIRST_LAYER) {
        c->observer_return = return_address(c, uc);
        c->bucket = OBSERVER;
        if (c->told < ORDER) {
            c->finished[c->told] = core_register(c, uc, c->riscv != 0U ? RISCV_SECOND : ARM_SECOND);
            c->told++;
        }
    }
}

void tinygen_on_block(void *uc, uint64_t address, uint32_t size, void *user)
{
    counter_t *c = user;
    mark(c, uc, (uint32_t)address);
    block_t *b = find(c, (uint32_t)address, c->bucket);
    if (b == 0) {
        c->lost++;
        c->emu_stop(uc);
        return;
    }
    if (b->bucket == 0U || b->size != size) {
        b->instructions = examine(c, uc, (uint32_t)address, size);
        b->cycles = c->cost == 0 ? b->instructions : c->cost((uint32_t)address, size, b->instructions);
        b->address = (uint32_t)address;
        b->bucket = c->bucket + 1U;
        b->size = size;
        b->accesses = c->new_accesses;
        c->last_block = 0U; /* other code than before, so its lines have to be looked up */
        if (c->illegal != 0U) {
            c->emu_stop(uc);
            return;
        }
    }
    b->count++;
    c->total += b->instructions;
    c->cycles += b->cycles;
    if (c->timed != 0U) {
        const uint32_t stalls = stalls_of(c, uc, b);
        b->stalls += stalls;
        c->cycles += stalls;
    }
    if (c->total >= c->limit) {
        c->limited = 1U;
        c->emu_stop(uc);
    }
}

/*
 * LDM, STM, LDRD, STRD, LDREX, STREX, VLDR, VLDM and their like fault on an address that is no multiple of 4, also
 * where plain loads and stores may be unaligned (DDI 0403 A3.2.1). The CPU emulator lets them pass. All their offsets
 * are multiples of 4, so the base register decides. Gives its number; NO_BASE for any other instruction.
 */
static uint32_t aligned_base(uint32_t first, uint32_t second)
{
    if ((first & 0xF000U) == 0xC000U) {
        return first >> 8 & 7U; /* LDM, STM */
    }
    if ((first & 0xF600U) == 0xB400U) {
        return 13U; /* PUSH, POP */
    }
    if ((first & 0xFFE0U) == 0xE8C0U && (second & 0x00A0U) == 0U) {
        return NO_BASE; /* TBB, TBH; exclusive bytes and halfwords */
    }
    if ((first & 0xFE00U) == 0xE800U) {
        return first & 15U;
    }
    if ((first & 0xFFE0U) != 0xEC40U && (first & 0xFE00U) == 0xEC00U && (second & 0x0E00U) == 0x0A00U) {
        return first & 15U;
    }
    return NO_BASE;
}

void tinygen_on_instruction(void *uc, uint64_t address, uint32_t size, void *user)
{
    counter_t *c = user;
    base_t *b = &c->bases[address >> 1 & (BASES - 1U)];
    if (b->address != (uint32_t)address) {
        uint8_t code[4] = {0U, 0U, 0U, 0U};
        (void)c->mem_read(uc, address, code, size < 4U ? 2U : 4U);
        b->address = (uint32_t)address;
        b->base = aligned_base(halfword(code, 0U), halfword(code, 2U));
    }
    if (b->base >= 15U || c->illegal != 0U) {
        return;
    }
    const uint32_t value = core_register(c, uc, b->base);
    if ((value & 3U) != 0U) {
        c->illegal = ILLEGAL_UNALIGNED;
        c->illegal_pc = (uint32_t)address;
        c->illegal_address = value;
        c->emu_stop(uc);
    }
}
