/* Pins: port 0 is A, 1 is B, and so on. */
#ifndef STM32_GPIO_H
#define STM32_GPIO_H

#include <stdbool.h>
#include <stdint.h>

void gpio_alternate(uint32_t port, uint32_t pin, uint32_t function); /* with pull-up */
void gpio_output(uint32_t port, uint32_t pin, bool high);            /* push-pull */
void gpio_write(uint32_t port, uint32_t pin, bool high);

#endif
