/*
 * An I2S microphone with 24 bits in slots of 32, left, on an ESP32-C3's I2S0 as the master that receives. GDMA fills
 * buffers in a ring; one that is full is the core's until that gives it back. Registers: esp-idf's i2s_reg.h and
 * gdma_reg.h; the order of steps as in its i2s_ll.h and i2s_hal.c.
 */
#include "microphone_driver.h"

#include <stddef.h>

#include "board.h"
#include "board_config.h"
#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* system_reg.h */
#define SYSTEM_CLK_EN0 REGISTER(0x600C0010U)
#define SYSTEM_CLK_EN1 REGISTER(0x600C0014U)
#define SYSTEM_RST_EN0 REGISTER(0x600C0018U)
#define SYSTEM_RST_EN1 REGISTER(0x600C001CU)
#define SYSTEM_I2S0 (1U << 21)
#define SYSTEM_DMA (1U << 6)

#define I2S(offset) REGISTER(BOARD_MICROPHONE_BASE + (offset))
#define RX_CONF I2S(0x20U)
#define RX_RESET (1U << 0)
#define RX_FIFO_RESET (1U << 1)
#define RX_START (1U << 2)
#define RX_MONO (1U << 5 | 1U << 9) /* one channel, the first */
#define RX_UPDATE (1U << 8)
#define RX_PCM_BYPASS (1U << 12)
#define RX_LEFT_ALIGN (1U << 15)
#define RX_TDM_EN (1U << 19)
#define RX_CONF1 I2S(0x28U)
#define RX_CONF1_SLOTS_OF_32 (31U | 31U << 13 | 31U << 18 | 31U << 24) /* WS, data, half a frame, slot */
#define RX_CONF1_MSB_SHIFT (1U << 29)                                  /* Philips' format */
#define RX_CLKM_CONF I2S(0x30U)
#define RX_CLKM_ACTIVE (1U << 26)
#define RX_CLKM_PLL_160M (2U << 27)
#define TX_CLKM_CONF I2S(0x34U)
#define TX_CLKM_CLK_EN (1U << 29) /* of all of the port */
#define RX_CLKM_DIV I2S(0x38U)
#define RX_TDM_CTRL I2S(0x50U)
#define RX_TDM_TWO_SLOTS_LEFT (1U << 16 | 1U)
#define RX_EOF_NUM I2S(0x64U)

#define DMA(offset) REGISTER(0x6003F000U + (offset)) /* channel 0 */
#define DMA_INT_RAW DMA(0x00U)
#define DMA_INT_CLR DMA(0x0CU)
#define DMA_IN_DSCR_ERR (1U << 5)
#define DMA_IN_CONF0 DMA(0x70U)
#define DMA_IN_RST (1U << 0)
#define DMA_IN_CONF1 DMA(0x74U)
#define DMA_IN_CHECK_OWNER (1U << 12)
#define DMA_IN_LINK DMA(0x80U)
#define DMA_IN_LINK_ADDRESS 0xFFFFFU
#define DMA_IN_LINK_AUTO_RET (1U << 20)
#define DMA_IN_LINK_STOP (1U << 21)
#define DMA_IN_LINK_START (1U << 22)
#define DMA_IN_PERI_SEL DMA(0xA0U)
#define DMA_PERI_I2S0 3U

/* gpio_reg.h, io_mux_reg.h, gpio_sig_map.h */
#define GPIO_FUNCTION_IN(signal) REGISTER(GPIO_BASE + 0x154U + 4U * (signal))
#define GPIO_FUNCTION_OUT(pin) REGISTER(GPIO_BASE + 0x554U + 4U * (pin))
#define GPIO_MATRIX_IN (1U << 6)
#define IO_MUX(pin) REGISTER(IO_MUX_BASE + 0x04U + 4U * (pin))
#define IO_MUX_INPUT (1U << 9 | 1U << 12) /* enabled; function 1, the matrix */
#define SIGNAL_I2SI_SD_IN 15U
#define SIGNAL_I2SI_BCK_OUT 16U
#define SIGNAL_I2SI_WS_OUT 17U

/* What the fraction of the divider is in the registers: i2s_ll_rx_set_mclk. */
#define ABOVE_HALF (2U * BOARD_MICROPHONE_NUMERATOR > BOARD_MICROPHONE_DENOMINATOR)
#define DIV_Z (ABOVE_HALF ? BOARD_MICROPHONE_DENOMINATOR - BOARD_MICROPHONE_NUMERATOR : BOARD_MICROPHONE_NUMERATOR)
#define DIV_X (BOARD_MICROPHONE_DENOMINATOR / DIV_Z - 1U)
#define DIV_Y (BOARD_MICROPHONE_DENOMINATOR % DIV_Z)
#define FRACTION (DIV_Z | DIV_Y << 9 | DIV_X << 18 | (ABOVE_HALF ? 1U << 27 : 0U))
#define NO_FRACTION (1U << 9)

/* More than two, as GDMA may look at the next one while it fills one. */
#define BUFFERS 4U
#define SIZE (MICROPHONE_BLOCK * 4U)
#define OWNER_DMA (1U << 31)

/* dma_types.h: bits 0 to 11 are the buffer's size, 12 to 23 how much of it is full. */
typedef struct descriptor {
    volatile uint32_t control;
    uint32_t *buffer;
    struct descriptor *next;
} descriptor_t;

static uint32_t buffers[BUFFERS][MICROPHONE_BLOCK];
static descriptor_t ring[BUFFERS];
static uint32_t next; /* which buffer comes next */

static void pins_init(void)
{
    gpio_output(BOARD_MICROPHONE_CK_PIN);
    gpio_output(BOARD_MICROPHONE_WS_PIN);
    GPIO_FUNCTION_OUT(BOARD_MICROPHONE_CK_PIN) = SIGNAL_I2SI_BCK_OUT;
    GPIO_FUNCTION_OUT(BOARD_MICROPHONE_WS_PIN) = SIGNAL_I2SI_WS_OUT;
    IO_MUX(BOARD_MICROPHONE_SD_PIN) = IO_MUX_INPUT;
    GPIO_FUNCTION_IN(SIGNAL_I2SI_SD_IN) = GPIO_MATRIX_IN | BOARD_MICROPHONE_SD_PIN;
}

/* A divider that changes must pass through a small one without a fraction: i2s_ll_rx_set_raw_clk_div. */
static void clock_divide(void)
{
    const uint32_t source = RX_CLKM_ACTIVE | RX_CLKM_PLL_160M;
    TX_CLKM_CONF |= TX_CLKM_CLK_EN;
    RX_CLKM_CONF = source | 2U;
    RX_CLKM_DIV = NO_FRACTION;
#if BOARD_MICROPHONE_NUMERATOR
    RX_CLKM_DIV = FRACTION;
#endif
    RX_CLKM_CONF = source | BOARD_MICROPHONE_DIVIDER;
}

static void format_set(void)
{
    RX_CONF = RX_TDM_EN | RX_PCM_BYPASS | RX_LEFT_ALIGN | RX_MONO;
    RX_CONF1 = RX_CONF1_SLOTS_OF_32 | RX_CONF1_MSB_SHIFT | (BOARD_MICROPHONE_BIT_DIVIDER - 1U) << 7;
    RX_TDM_CTRL = RX_TDM_TWO_SLOTS_LEFT;
    RX_EOF_NUM = SIZE;
}

static void pause(void)
{
    RX_CONF &= ~RX_START;
    DMA_IN_LINK |= DMA_IN_LINK_STOP;
    DMA_IN_CONF0 |= DMA_IN_RST;
    DMA_IN_CONF0 &= ~DMA_IN_RST;
}

static void receive(void)
{
    next = 0U;
    for (uint32_t i = 0U; i < BUFFERS; i++) {
        ring[i] = (descriptor_t){OWNER_DMA | SIZE, buffers[i], &ring[(i + 1U) % BUFFERS]};
    }
    DMA_INT_CLR = UINT32_MAX;
    DMA_IN_CONF1 |= DMA_IN_CHECK_OWNER;
    DMA_IN_PERI_SEL = DMA_PERI_I2S0;
    DMA_IN_LINK = DMA_IN_LINK_AUTO_RET | ((uint32_t)(uintptr_t)ring & DMA_IN_LINK_ADDRESS);
    DMA_IN_LINK |= DMA_IN_LINK_START;
    RX_CONF |= RX_RESET | RX_FIFO_RESET;
    RX_CONF &= ~(RX_RESET | RX_FIFO_RESET);
    RX_CONF |= RX_UPDATE;
    while ((RX_CONF & RX_UPDATE) != 0U) {
    }
    RX_CONF |= RX_START;
}

bool microphone_driver_start(uint32_t sample_rate_hz)
{
    if (sample_rate_hz != BOARD_MICROPHONE_HZ || board_clock_status() != NULL) {
        return false;
    }
    SYSTEM_CLK_EN0 |= SYSTEM_I2S0;
    SYSTEM_RST_EN0 &= ~SYSTEM_I2S0;
    SYSTEM_CLK_EN1 |= SYSTEM_DMA;
    SYSTEM_RST_EN1 &= ~SYSTEM_DMA;
    pins_init();
    clock_divide();
    format_set();
    pause();
    receive();
    return true;
}

bool microphone_driver_read(int16_t samples[MICROPHONE_BLOCK])
{
    descriptor_t *const full = &ring[next];
    const uint64_t since = cycles_now();
    const uint64_t patience = 2ULL * BOARD_HCLK_HZ / BOARD_MICROPHONE_HZ * MICROPHONE_BLOCK;
    while ((full->control & OWNER_DMA) != 0U) {
        /* GDMA that found a buffer which was not given back has stopped, and sound was lost. */
        if ((DMA_INT_RAW & DMA_IN_DSCR_ERR) != 0U || cycles_now() - since > patience) {
            return false;
        }
    }
    for (uint32_t i = 0U; i < MICROPHONE_BLOCK; i++) {
        samples[i] = microphone_sample(full->buffer[i], BOARD_MICROPHONE_GAIN_BITS);
    }
    full->control = OWNER_DMA | SIZE;
    next = (next + 1U) % BUFFERS;
    return (DMA_INT_RAW & DMA_IN_DSCR_ERR) == 0U;
}

void microphone_driver_restart(void)
{
    pause();
    receive();
}

void microphone_driver_stop(void)
{
    pause();
    RX_CLKM_CONF &= ~RX_CLKM_ACTIVE;
}
