/* Boards with an ESP32-C3 or -C6. The pins of UART0 are as the boot ROM, which has printed on them, leaves them. */
#include "board.h"

#include <stddef.h>

#include "board_config.h"
#include "chip_registers.h"
#include "esp32.h"

static const char *clock_problem;

void board_init(void)
{
    cycles_init();
    clock_problem = clock_init();
#if defined(BOARD_TIMESTAMP_PIN)
    gpio_write(BOARD_TIMESTAMP_PIN, true);
    gpio_output(BOARD_TIMESTAMP_PIN);
#endif
#if defined(BOARD_LED_READY_PIN)
    gpio_output(BOARD_LED_READY_PIN);
#endif
#if defined(BOARD_LED_BUSY_PIN)
    gpio_output(BOARD_LED_BUSY_PIN);
#endif
#if defined(BOARD_LED_FAULT_PIN)
    gpio_output(BOARD_LED_FAULT_PIN);
#endif
    uart_init(BOARD_UART_BAUD);
}

uint32_t board_clock_hz(void)
{
    return clock_problem == NULL ? BOARD_HCLK_HZ : CHIP_XTAL_HZ;
}

const char *board_clock_status(void)
{
    return clock_problem;
}

void board_timestamp_pin(bool high)
{
#if defined(BOARD_TIMESTAMP_PIN)
    gpio_write(BOARD_TIMESTAMP_PIN, high);
#else
    (void)high;
#endif
}

void board_led(board_led_t led, bool on)
{
    switch (led) {
#if defined(BOARD_LED_READY_PIN)
    case BOARD_LED_READY:
        gpio_write(BOARD_LED_READY_PIN, on);
        break;
#endif
#if defined(BOARD_LED_BUSY_PIN)
    case BOARD_LED_BUSY:
        gpio_write(BOARD_LED_BUSY_PIN, on);
        break;
#endif
#if defined(BOARD_LED_FAULT_PIN)
    case BOARD_LED_FAULT:
        gpio_write(BOARD_LED_FAULT_PIN, on);
        break;
#endif
    default:
        (void)on;
        break;
    }
}
