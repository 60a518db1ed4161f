/* Boards with an STM32. */
#include "board.h"

#include <stddef.h>

#include "board_config.h"
#include "clock.h"
#include "cortex_m.h"
#include "family_registers.h"
#include "gpio.h"
#include "uart.h"
#include "usart.h"

#define KEPT_BYTES 64U /* a host sends no more without waiting for an answer (EEMBC's guide to its runner) */

static const char *clock_problem;

/* What came while a reply went out: the hardware holds one byte only, and there are no interrupts. */
static struct {
    uint8_t bytes[KEPT_BYTES];
    uint32_t count;
    uint32_t next;
} kept;

static void outputs_init(void)
{
#if defined(BOARD_LED_READY_PORT)
    gpio_output(BOARD_LED_READY_PORT, BOARD_LED_READY_PIN, false);
#endif
#if defined(BOARD_LED_BUSY_PORT)
    gpio_output(BOARD_LED_BUSY_PORT, BOARD_LED_BUSY_PIN, false);
#endif
#if defined(BOARD_LED_FAULT_PORT)
    gpio_output(BOARD_LED_FAULT_PORT, BOARD_LED_FAULT_PIN, false);
#endif
#if defined(BOARD_TIMESTAMP_PORT)
    gpio_output(BOARD_TIMESTAMP_PORT, BOARD_TIMESTAMP_PIN, true);
#endif
}

void board_init(void)
{
#if BOARD_HAS_CACHES
    caches_enable();
#endif
    cycles_init();
    clock_problem = clock_init();
    outputs_init();
    gpio_alternate(BOARD_UART_TX_PORT, BOARD_UART_TX_PIN, BOARD_UART_AF);
    gpio_alternate(BOARD_UART_RX_PORT, BOARD_UART_RX_PIN, BOARD_UART_AF);
    BOARD_UART_ENABLE_REGISTER |= BOARD_UART_ENABLE_MASK;
    (void)BOARD_UART_ENABLE_REGISTER;
    usart_init(clock_uart_hz(), BOARD_UART_BAUD);
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

void board_timestamp_pin(bool high)
{
#if defined(BOARD_TIMESTAMP_PORT)
    gpio_write(BOARD_TIMESTAMP_PORT, BOARD_TIMESTAMP_PIN, high);
#else
    (void)high;
#endif
}

#if BOARD_HAS_STREAM_PINS
void board_stream_pins_init(void)
{
    gpio_output(BOARD_PROCESSING_PORT, BOARD_PROCESSING_PIN, false);
    gpio_output(BOARD_DETECTION_PORT, BOARD_DETECTION_PIN, true);
}

void board_stream_pin(board_pin_t pin, bool high)
{
    if (pin == BOARD_PIN_PROCESSING) {
        gpio_write(BOARD_PROCESSING_PORT, BOARD_PROCESSING_PIN, high);
    } else {
        gpio_write(BOARD_DETECTION_PORT, BOARD_DETECTION_PIN, high);
    }
}
#endif

static bool take_kept(uint8_t *byte)
{
    if (kept.next == kept.count) {
        kept.next = 0U;
        kept.count = 0U;
        return false;
    }
    *byte = kept.bytes[kept.next++];
    return true;
}

int uart_read_byte(uint32_t timeout_ms)
{
    uint8_t byte = 0U;
    if (take_kept(&byte) || usart_take(&byte)) {
        return byte;
    }
    const deadline_t deadline = deadline_in(timeout_ms, clock_core_hz());
    while (!usart_take(&byte)) {
        if (wait_is_over(timeout_ms, &deadline)) {
            return UART_TIMEOUT;
        }
    }
    return byte;
}

void uart_write(const void *data, size_t bytes)
{
    const uint8_t *p = data;
    while (bytes-- > 0U) {
        do {
            if (kept.count < KEPT_BYTES && usart_take(&kept.bytes[kept.count])) {
                kept.count++;
            }
        } while (!usart_has_room());
        usart_put(*p++);
    }
}

void uart_set_baud(uint32_t baud)
{
    usart_flush();
    usart_init(clock_uart_hz(), baud);
}
