/*
 * An I2S microphone with 24 bits in slots of 32, left, on SPI2 as I2S2: the master that receives. Or another board that
 * is the master (MICROPHONE_FOLLOWS), of 16 bits in slots of 16: the slave that receives. DMA 1 writes what comes into
 * one half of a buffer while the other is read. Sections are those of RM0385.
 */
#include "microphone_driver.h"

#include <stddef.h>

#include "board.h"
#include "board_config.h"
#include "clock.h"
#include "cortex_m.h"
#include "gpio.h"
#include "stm32_registers.h"

/* 5.3.1, 5.3.3, 5.3.10, 5.3.24 */
#define RCC_CR_PLLI2SON (1U << 26)
#define RCC_CR_PLLI2SRDY (1U << 27)
#define RCC_CFGR_I2SSRC (1U << 23) /* 0: PLLI2S */
#define RCC_AHB1ENR_DMA1EN (1U << 21)
#define RCC_PLLI2SCFGR REGISTER(0x40023884U)
#define RCC_PLLI2SCFGR_FIELDS 0x70007FC0U /* R, N */

/* 32.9 */
#define I2S(offset) REGISTER(BOARD_MICROPHONE_BASE + (offset))
#define I2S_CR2 I2S(0x04U)
#define I2S_CR2_RXDMAEN (1U << 0)
#define I2S_SR I2S(0x08U)
#define I2S_SR_OVR (1U << 6)
#define I2S_CFGR I2S(0x1CU)
#define I2S_CFGR_CHLEN_32 (1U << 0)
#define I2S_CFGR_DATLEN_24 (1U << 1)
#define I2S_CFGR_SLAVE_RECEIVES (1U << 8)
#define I2S_CFGR_MASTER_RECEIVES (3U << 8)
#define I2S_CFGR_I2SE (1U << 10)
#define I2S_CFGR_I2SMOD (1U << 11)
#define I2S_PR I2S(0x20U)

/* 8.5; 8.3.3: SPI2_RX is channel 0 of stream 3 */
#define DMA1_LISR REGISTER(0x40026000U)
#define DMA1_LIFCR REGISTER(0x40026008U)
#define DMA1_S3CR REGISTER(0x40026058U)
#define DMA1_S3NDTR REGISTER(0x4002605CU)
#define DMA1_S3PAR REGISTER(0x40026060U)
#define DMA1_S3M0AR REGISTER(0x40026064U)
#define STREAM3_TRANSFER_ERROR (1U << 25)
#define STREAM3_HALF (1U << 26)
#define STREAM3_COMPLETE (1U << 27)
#define STREAM3_FLAGS (0x3DU << 22)
#define DMA_EN (1U << 0)
#define DMA_CIRCULAR (1U << 8)
#define DMA_MEMORY_INCREMENT (1U << 10)
#define DMA_HALFWORDS ((1U << 11) | (1U << 13))
#define DMA_HIGH_PRIORITY (2U << 16)

#define PLL_LOCK_MS 10U
#define BLOCK_MS (2U * 1000U * MICROPHONE_BLOCK / BOARD_MICROPHONE_HZ) /* twice what a block takes */

/* A frame: left and right, the upper 16 bits of each first. Halves end with lines of the data cache. */
typedef struct {
    uint16_t left[MICROPHONE_FOLLOWS ? 1 : 2];
    uint16_t right[MICROPHONE_FOLLOWS ? 1 : 2];
} frame_t;

static frame_t halves[2][MICROPHONE_BLOCK] __attribute__((aligned(32)));
static uint32_t next; /* which half comes next */

#if MICROPHONE_FOLLOWS
/* The clock is the master's (32.7). */
static bool start_clock(void)
{
    return true;
}

static void set_format(void)
{
    I2S_CFGR = I2S_CFGR_I2SMOD | I2S_CFGR_SLAVE_RECEIVES;
}

static int16_t sample_of(const frame_t *frame)
{
    return (int16_t)frame->left[0];
}
#else
static bool start_clock(void)
{
    RCC_CR &= ~RCC_CR_PLLI2SON;
    RCC_CFGR &= ~RCC_CFGR_I2SSRC;
    RCC_PLLI2SCFGR = (RCC_PLLI2SCFGR & ~RCC_PLLI2SCFGR_FIELDS) | (BOARD_MICROPHONE_PLL_N << 6) |
                     (BOARD_MICROPHONE_PLL_R << 28);
    RCC_CR |= RCC_CR_PLLI2SON;
    return clock_wait(&RCC_CR, RCC_CR_PLLI2SRDY, RCC_CR_PLLI2SRDY, PLL_LOCK_MS);
}

static void set_format(void)
{
    I2S_CFGR = I2S_CFGR_I2SMOD | I2S_CFGR_MASTER_RECEIVES | I2S_CFGR_DATLEN_24 | I2S_CFGR_CHLEN_32;
    I2S_PR = (BOARD_MICROPHONE_DIVIDER % 2U << 8) | BOARD_MICROPHONE_DIVIDER / 2U;
}

static int16_t sample_of(const frame_t *frame)
{
    return microphone_sample((uint32_t)frame->left[0] << 16 | frame->left[1], BOARD_MICROPHONE_GAIN_BITS);
}
#endif

/*
 * Whatever the port was at: one that is switched off in the middle of a frame may go on in the middle of one (32.7), so
 * it is reset. A peripheral has the same bit in the reset registers as in the enable registers, 0x20 above (5.3).
 */
static void port_init(void)
{
    volatile uint32_t *const reset = &BOARD_MICROPHONE_ENABLE_REGISTER - 8;
    *reset |= BOARD_MICROPHONE_ENABLE_MASK;
    *reset &= ~BOARD_MICROPHONE_ENABLE_MASK;
    set_format();
    I2S_CR2 = I2S_CR2_RXDMAEN;
}

static void receive(void)
{
    port_init();
    next = 0U;
    DMA1_LIFCR = STREAM3_FLAGS;
    DMA1_S3PAR = BOARD_MICROPHONE_BASE + 0x0CU;
    DMA1_S3M0AR = (uint32_t)(uintptr_t)halves;
    DMA1_S3NDTR = sizeof halves / sizeof(uint16_t);
    cache_discard(halves, sizeof halves); /* so that no line is written back over what comes */
    DMA1_S3CR = DMA_HIGH_PRIORITY | DMA_HALFWORDS | DMA_MEMORY_INCREMENT | DMA_CIRCULAR;
    DMA1_S3CR |= DMA_EN;
    I2S_CFGR |= I2S_CFGR_I2SE;
}

static void pause(void)
{
    I2S_CFGR &= ~I2S_CFGR_I2SE;
    DMA1_S3CR &= ~DMA_EN;
    (void)clock_wait(&DMA1_S3CR, DMA_EN, 0U, 1U); /* 8.3: it ends what it is at */
}

bool microphone_driver_start(uint32_t sample_rate_hz)
{
    if (sample_rate_hz != BOARD_MICROPHONE_HZ || board_clock_status() != NULL || !start_clock()) {
        return false;
    }
    gpio_alternate(BOARD_MICROPHONE_CK_PORT, BOARD_MICROPHONE_CK_PIN, BOARD_MICROPHONE_AF);
    gpio_alternate(BOARD_MICROPHONE_WS_PORT, BOARD_MICROPHONE_WS_PIN, BOARD_MICROPHONE_AF);
    gpio_alternate(BOARD_MICROPHONE_SD_PORT, BOARD_MICROPHONE_SD_PIN, BOARD_MICROPHONE_AF);
    BOARD_MICROPHONE_ENABLE_REGISTER |= BOARD_MICROPHONE_ENABLE_MASK;
    RCC_AHB1ENR |= RCC_AHB1ENR_DMA1EN;
    (void)RCC_AHB1ENR;
    pause();
    receive();
    return true;
}

/* The flag of the half that comes next. */
static uint32_t full_flag(void)
{
    return next == 0U ? STREAM3_HALF : STREAM3_COMPLETE;
}

#if MICROPHONE_FOLLOWS
bool microphone_driver_ready(void)
{
    return (DMA1_LISR & full_flag()) != 0U;
}
#endif

/* False where nothing comes. */
static bool wait_for_half(uint32_t full)
{
    const deadline_t deadline = deadline_in(BLOCK_MS, BOARD_HCLK_HZ);
    while ((DMA1_LISR & full) == 0U) {
        if (deadline_passed(&deadline)) {
            return false;
        }
    }
    DMA1_LIFCR = full;
    return true;
}

bool microphone_driver_read(int16_t samples[MICROPHONE_BLOCK])
{
    if (!wait_for_half(full_flag())) {
        return false;
    }
    frame_t *const half = halves[next];
    cache_discard(half, sizeof halves[0]);
    for (uint32_t i = 0U; i < MICROPHONE_BLOCK; i++) {
        samples[i] = sample_of(&half[i]);
    }
    next ^= 1U;
    /* Where the other half is full by now, this one was being written while it was read, or before. */
    const uint32_t lost = STREAM3_HALF | STREAM3_COMPLETE | STREAM3_TRANSFER_ERROR;
    return (DMA1_LISR & lost) == 0U && (I2S_SR & I2S_SR_OVR) == 0U;
}

void microphone_driver_restart(void)
{
    pause();
    receive();
}

void microphone_driver_stop(void)
{
    pause();
    RCC_CR &= ~RCC_CR_PLLI2SON;
}
