#include "gpio.h"

#include "family_registers.h"

/* The same in all families (RM0385 6.4); a port every 0x400 bytes. */
typedef struct {
    volatile uint32_t moder;
    volatile uint32_t otyper;
    volatile uint32_t ospeedr;
    volatile uint32_t pupdr;
    volatile uint32_t idr;
    volatile uint32_t odr;
    volatile uint32_t bsrr;
    volatile uint32_t lckr;
    volatile uint32_t afr[2];
} gpio_t;

#define GPIO(port) ((gpio_t *)(uintptr_t)(GPIO_PORT_A + 0x400U * (port)))

#define MODE_OUTPUT 1U
#define MODE_ALTERNATE 2U
#define SPEED_MEDIUM 1U
#define PULL_UP 1U

static uint32_t with_field(uint32_t value, uint32_t shift, uint32_t mask, uint32_t field)
{
    return (value & ~(mask << shift)) | (field << shift);
}

static gpio_t *clocked_port(uint32_t port)
{
    GPIO_CLOCKS |= 1U << port;
    (void)GPIO_CLOCKS; /* the clock needs two cycles before the port may be written */
    return GPIO(port);
}

void gpio_alternate(uint32_t port, uint32_t pin, uint32_t function)
{
    gpio_t *const gpio = clocked_port(port);
    gpio->afr[pin / 8U] = with_field(gpio->afr[pin / 8U], 4U * (pin % 8U), 15U, function);
    gpio->ospeedr = with_field(gpio->ospeedr, 2U * pin, 3U, SPEED_MEDIUM);
    gpio->pupdr = with_field(gpio->pupdr, 2U * pin, 3U, PULL_UP);
    gpio->moder = with_field(gpio->moder, 2U * pin, 3U, MODE_ALTERNATE);
}

void gpio_output(uint32_t port, uint32_t pin, bool high)
{
    gpio_t *const gpio = clocked_port(port);
    gpio_write(port, pin, high); /* before the pin is driven */
    gpio->moder = with_field(gpio->moder, 2U * pin, 3U, MODE_OUTPUT);
}

void gpio_write(uint32_t port, uint32_t pin, bool high)
{
    GPIO(port)->bsrr = 1U << (high ? pin : pin + 16U);
}
