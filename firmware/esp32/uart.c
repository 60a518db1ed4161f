/* UART0 of ESP32-C3 and -C6, polled: uart_reg.h and uart_ll.h of esp-idf. */
#include "uart.h"

#include "board.h"
#include "board_config.h"
#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

#define UART_FIFO REGISTER(BOARD_UART_BASE + 0x00U)
#define UART_CLKDIV REGISTER(BOARD_UART_BASE + 0x14U)
#define UART_STATUS REGISTER(BOARD_UART_BASE + 0x1CU)
#define UART_CONF0 REGISTER(BOARD_UART_BASE + 0x20U)
#define CLKDIV_MAX 0xFFFU
#define CLKDIV_FRACTION_AT 20U
#define RX_COUNT(status) ((status) & 0xFFU) /* up to 128, which is a bit more than 127 needs */
#define TX_COUNT(status) ((status) >> 16 & 0xFFU)
#define FIFO_FULL 120U /* of 128 bytes */
#define CONF0_8_BITS (3U << 2)
#define CONF0_1_STOP_BIT (1U << 4)
#define TX_STATE_MASK (15U << 4) /* 0: idle */

static bool is_sending(void)
{
    return TX_COUNT(UART_STATUS) != 0U || (UART_FSM & TX_STATE_MASK) != 0U;
}

/* The divisor has 12 bits and a fraction of 4; a divider before it keeps it in range at low rates. */
void uart_set_baud(uint32_t baud)
{
    while (is_sending()) {
    }
    const uint32_t divider = (CHIP_XTAL_HZ - 1U) / (CLKDIV_MAX * baud) + 1U;
    const uint32_t sixteenths = CHIP_XTAL_HZ / divider * 16U / baud;
    uart_clock(divider);
    UART_CLKDIV = sixteenths >> 4 | (sixteenths & 15U) << CLKDIV_FRACTION_AT;
    uart_synchronize();
}

void uart_init(uint32_t baud)
{
    UART_CONF0 = (UART_CONF0 & UART_CONF0_KEPT) | CONF0_8_BITS | CONF0_1_STOP_BIT;
    uart_set_baud(baud);
}

static bool take(uint8_t *byte)
{
    if (RX_COUNT(UART_STATUS) == 0U) {
        return false;
    }
    *byte = (uint8_t)UART_FIFO;
    return true;
}

int uart_read_byte(uint32_t timeout_ms)
{
    uint8_t byte = 0U;
    if (take(&byte)) {
        return byte;
    }
    const uint64_t start = cycles_now();
    const uint64_t longest = (uint64_t)timeout_ms * (board_clock_hz() / 1000U);
    while (!take(&byte)) {
        if (timeout_ms != UART_WAIT_FOREVER && cycles_now() - start >= longest) {
            return UART_TIMEOUT;
        }
    }
    return byte;
}

void uart_write(const void *data, size_t bytes)
{
    const uint8_t *p = data;
    while (bytes-- > 0U) {
        while (TX_COUNT(UART_STATUS) >= FIFO_FULL) {
        }
        UART_FIFO = *p++;
    }
}
