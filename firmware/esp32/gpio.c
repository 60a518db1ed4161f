#include "chip_registers.h"
#include "esp32.h"
#include "riscv.h"

/* gpio_reg.h and io_mux_reg.h of esp-idf. */
#define GPIO_OUT_SET REGISTER(GPIO_BASE + 0x08U)
#define GPIO_OUT_CLEAR REGISTER(GPIO_BASE + 0x0CU)
#define GPIO_ENABLE_SET REGISTER(GPIO_BASE + 0x24U)
#define GPIO_FUNCTION_OUT(pin) REGISTER(GPIO_BASE + 0x554U + 4U * (pin))
#define IO_MUX(pin) REGISTER(IO_MUX_BASE + 0x04U + 4U * (pin))
#define SIGNAL_GPIO 128U      /* gpio_sig_map.h: SIG_GPIO_OUT_IDX, the pin follows GPIO_OUT */
#define MUX_DRIVE (2U << 10)  /* reset's strength */
#define MUX_GPIO (1U << 12)   /* function 1 of every pin */

void gpio_write(uint32_t pin, bool high)
{
    if (high) {
        GPIO_OUT_SET = 1U << pin;
    } else {
        GPIO_OUT_CLEAR = 1U << pin;
    }
}

void gpio_output(uint32_t pin)
{
    GPIO_FUNCTION_OUT(pin) = SIGNAL_GPIO;
    IO_MUX(pin) = MUX_GPIO | MUX_DRIVE;
    GPIO_ENABLE_SET = 1U << pin;
}
