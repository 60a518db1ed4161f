/*
 * USART of STM32F7 (RM0385 chapter 31), L4, G4, H7 and U5, and their LPUART, polled: at 216 MHz a byte at 115200 baud
 * lasts 18 750 cycles.
 */
#include "usart.h"

#include "board_config.h"

typedef struct {
    volatile uint32_t cr1;
    volatile uint32_t cr2;
    volatile uint32_t cr3;
    volatile uint32_t brr;
    volatile uint32_t gtpr;
    volatile uint32_t rtor;
    volatile uint32_t rqr;
    volatile uint32_t isr;
    volatile uint32_t icr;
    volatile uint32_t rdr;
    volatile uint32_t tdr;
} usart_t;

#define UART ((usart_t *)(uintptr_t)BOARD_UART_BASE)

#define CR1_UE (1U << 0)
#define CR1_RE (1U << 2)
#define CR1_TE (1U << 3)
#define ISR_PE (1U << 0)
#define ISR_FE (1U << 1)
#define ISR_NF (1U << 2)
#define ISR_ORE (1U << 3)
#define ISR_RXNE (1U << 5)
#define ISR_TC (1U << 6)
#define ISR_TXE (1U << 7)
#define ERRORS (ISR_PE | ISR_FE | ISR_NF | ISR_ORE) /* ICR clears them at the same positions */

static uint32_t divisor(uint32_t clock_hz, uint32_t baud)
{
#if BOARD_UART_IS_LPUART
    /* 256 times the clock by the baud rate; taken apart, as the product needs more than 32 bits. */
    return clock_hz / baud * 256U + (clock_hz % baud * 256U + baud / 2U) / baud;
#else
    return (clock_hz + baud / 2U) / baud; /* oversampling by 16 */
#endif
}

void usart_init(uint32_t clock_hz, uint32_t baud)
{
    UART->cr1 = 0U;
    UART->cr2 = 0U;
    UART->cr3 = 0U;
    UART->brr = divisor(clock_hz, baud);
    UART->cr1 = CR1_UE | CR1_RE | CR1_TE;
}

bool usart_take(uint8_t *byte)
{
    const uint32_t isr = UART->isr;
    if ((isr & ERRORS) != 0U) {
        UART->icr = ERRORS; /* while ORE stands, no further byte is received */
    }
    if ((isr & ISR_RXNE) == 0U) {
        return false;
    }
    *byte = (uint8_t)UART->rdr;
    return true;
}

bool usart_has_room(void)
{
    return (UART->isr & ISR_TXE) != 0U;
}

void usart_put(uint8_t byte)
{
    UART->tdr = byte;
}

void usart_flush(void)
{
    while ((UART->isr & ISR_TC) == 0U) {
    }
}
