/* Arm MPS2 with AN500. The clock is the FPGA's; the UART is the CMSDK's (Arm DDI 0479, 4.3). */
#include "board.h"

#include <stddef.h>

#include "board_config.h"
#include "cortex_m.h"
#include "uart.h"

typedef struct {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t ctrl;
    volatile uint32_t intstatus;
    volatile uint32_t bauddiv;
} cmsdk_uart_t;

#define CMSDK_UART ((cmsdk_uart_t *)(uintptr_t)BOARD_UART_BASE)

#define STATE_TX_FULL (1U << 0)
#define STATE_RX_FULL (1U << 1)
#define STATE_RX_OVERRUN (1U << 3)
#define CHARACTERS_MS 3U /* what two take at 9600 baud, rounded up */
#define CTRL_TX_ENABLE (1U << 0)
#define CTRL_RX_ENABLE (1U << 1)

static void set_rate(uint32_t baud)
{
    CMSDK_UART->bauddiv = (BOARD_HCLK_HZ + baud / 2U) / baud;
}

void board_init(void)
{
    caches_enable();
    cycles_init();
    set_rate(BOARD_UART_BAUD);
    CMSDK_UART->ctrl = CTRL_TX_ENABLE | CTRL_RX_ENABLE;
}

uint32_t board_clock_hz(void)
{
    return BOARD_HCLK_HZ;
}

const char *board_clock_status(void)
{
    return NULL;
}

void board_led(board_led_t led, bool on)
{
    (void)led;
    (void)on;
}

void board_timestamp_pin(bool high)
{
    (void)high;
}

int uart_read_byte(uint32_t timeout_ms)
{
    const deadline_t deadline = deadline_in(timeout_ms, BOARD_HCLK_HZ);
    while ((CMSDK_UART->state & STATE_RX_FULL) == 0U) {
        if (wait_is_over(timeout_ms, &deadline)) {
            return UART_TIMEOUT;
        }
    }
    if ((CMSDK_UART->state & STATE_RX_OVERRUN) != 0U) {
        CMSDK_UART->state = STATE_RX_OVERRUN; /* write one to clear; the bytes lost show in the CRC */
    }
    return (int)(CMSDK_UART->data & 0xFFU);
}

void uart_write(const void *data, size_t bytes)
{
    const uint8_t *p = data;
    while (bytes-- > 0U) {
        while ((CMSDK_UART->state & STATE_TX_FULL) != 0U) {
        }
        CMSDK_UART->data = *p++;
    }
}

/* No flag says when the last byte is out: one may wait in the buffer, and one be on its way. */
void uart_set_baud(uint32_t baud)
{
    const deadline_t deadline = deadline_in(CHARACTERS_MS, BOARD_HCLK_HZ);
    while (!deadline_passed(&deadline)) {
    }
    set_rate(baud);
}
