/* Boards with an STM32F4, F7 or L4+. */
#include "board.h"

#include <stddef.h>

#include "board_config.h"
#include "clock.h"
#include "cortex_m.h"
#include "family_registers.h"
#include "gpio.h"
#include "uart.h"
#include "usart.h"

static const char *clock_problem;

static void lights_init(void)
{
#if defined(BOARD_LED_READY_PORT)
    gpio_output(BOARD_LED_READY_PORT, BOARD_LED_READY_PIN);
#endif
#if defined(BOARD_LED_BUSY_PORT)
    gpio_output(BOARD_LED_BUSY_PORT, BOARD_LED_BUSY_PIN);
#endif
#if defined(BOARD_LED_FAULT_PORT)
    gpio_output(BOARD_LED_FAULT_PORT, BOARD_LED_FAULT_PIN);
#endif
}

void board_init(void)
{
#if BOARD_HAS_CACHES
    caches_enable();
#endif
    cycles_init();
    clock_problem = clock_init();
    lights_init();
    gpio_alternate(BOARD_UART_TX_PORT, BOARD_UART_TX_PIN, BOARD_UART_AF);
    gpio_alternate(BOARD_UART_RX_PORT, BOARD_UART_RX_PIN, BOARD_UART_AF);
    BOARD_UART_ENABLE_REGISTER |= BOARD_UART_ENABLE_MASK;
    (void)BOARD_UART_ENABLE_REGISTER;
    usart_init(clock_uart_hz());
}

uint32_t board_clock_hz(void)
{
    return clock_core_hz();
}

const char *board_clock_status(void)
{
    return clock_problem;
}

void board_led(board_led_t led, bool on)
{
    switch (led) {
#if defined(BOARD_LED_READY_PORT)
    case BOARD_LED_READY:
        gpio_write(BOARD_LED_READY_PORT, BOARD_LED_READY_PIN, on);
        break;
#endif
#if defined(BOARD_LED_BUSY_PORT)
    case BOARD_LED_BUSY:
        gpio_write(BOARD_LED_BUSY_PORT, BOARD_LED_BUSY_PIN, on);
        break;
#endif
#if defined(BOARD_LED_FAULT_PORT)
    case BOARD_LED_FAULT:
        gpio_write(BOARD_LED_FAULT_PORT, BOARD_LED_FAULT_PIN, on);
        break;
#endif
    default:
        (void)on;
        break;
    }
}

int uart_read_byte(uint32_t timeout_ms)
{
    uint8_t byte = 0U;
    if (usart_take(&byte)) {
        return byte;
    }
    const deadline_t deadline = deadline_in(timeout_ms, clock_core_hz());
    while (!usart_take(&byte)) {
        if (timeout_ms != UART_WAIT_FOREVER && deadline_passed(&deadline)) {
            return UART_TIMEOUT;
        }
    }
    return byte;
}

void uart_write(const void *data, size_t bytes)
{
    const uint8_t *p = data;
    while (bytes-- > 0U) {
        usart_put(*p++);
    }
}
