/*
 * Boards with an ESP32 or ESP32-S3, on ESP-IDF 5: its drivers, and its main task. Compiled against headers that only
 * declare what is used of ESP-IDF; not tried on a chip.
 */
#include "board.h"

#include <stddef.h>

#include "board_config.h"
#include "driver/gpio.h"
#include "driver/uart.h"
#include "esp_cpu.h"
#include "freertos/FreeRTOS.h"
#include "serve.h"
#include "uart.h"

#define RX_BUFFER_BYTES 4096

void app_main(void);

static uint32_t last_count; /* and the wraps seen between readings */
static uint32_t wraps;

static void output(gpio_num_t pin, uint32_t level)
{
    (void)gpio_reset_pin(pin);
    (void)gpio_set_level(pin, level);
    (void)gpio_set_direction(pin, GPIO_MODE_OUTPUT);
}

void board_init(void)
{
    const uart_config_t config = {
        .baud_rate = (int)BOARD_UART_BAUD,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
        .source_clk = UART_SCLK_DEFAULT,
    };
#if defined(BOARD_TIMESTAMP_PIN)
    output((gpio_num_t)BOARD_TIMESTAMP_PIN, 1U);
#endif
#if defined(BOARD_LED_READY_PIN)
    output((gpio_num_t)BOARD_LED_READY_PIN, 0U);
#endif
    (void)uart_driver_install(UART_NUM_0, RX_BUFFER_BYTES, 0, 0, NULL, 0);
    (void)uart_param_config(UART_NUM_0, &config);
}

uint32_t board_clock_hz(void)
{
    return BOARD_HCLK_HZ;
}

const char *board_clock_status(void)
{
    return NULL;
}

uint64_t cycles_now(void)
{
    const uint32_t count = esp_cpu_get_cycle_count();
    if (count < last_count) {
        wraps++;
    }
    last_count = count;
    return ((uint64_t)wraps << 32) | count;
}

void board_led(board_led_t led, bool on)
{
#if defined(BOARD_LED_READY_PIN)
    if (led == BOARD_LED_READY) {
        (void)gpio_set_level((gpio_num_t)BOARD_LED_READY_PIN, on ? 1U : 0U);
    }
#else
    (void)led;
    (void)on;
#endif
}

/* The stack is that of an RTOS' task. */
uint32_t board_stack(uint8_t **lowest)
{
    *lowest = NULL;
    return 0U;
}

void board_timestamp_pin(bool high)
{
#if defined(BOARD_TIMESTAMP_PIN)
    (void)gpio_set_level((gpio_num_t)BOARD_TIMESTAMP_PIN, high ? 1U : 0U);
#else
    (void)high;
#endif
}

int uart_read_byte(uint32_t timeout_ms)
{
    uint8_t byte = 0U;
    const TickType_t ticks = timeout_ms == UART_WAIT_FOREVER ? portMAX_DELAY : pdMS_TO_TICKS(timeout_ms);
    return uart_read_bytes(UART_NUM_0, &byte, 1U, ticks) == 1 ? (int)byte : UART_TIMEOUT;
}

void uart_write(const void *data, size_t bytes)
{
    (void)uart_write_bytes(UART_NUM_0, data, bytes);
}

void uart_set_baud(uint32_t baud)
{
    (void)uart_wait_tx_done(UART_NUM_0, portMAX_DELAY);
    (void)uart_set_baudrate(UART_NUM_0, baud);
}

void app_main(void)
{
    board_init();
    serve();
}
