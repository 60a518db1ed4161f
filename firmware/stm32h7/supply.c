/* The first thing after reset: who feeds the core (RM0433, PWR: system supply start-up). */
void supply_init(void);

/*
 * Until the supply is chosen and ACTVOSRDY says that its voltage is there, nothing may be written to RAM: so this
 * uses registers alone, and is called before the stack is. The choice in PWR_CR3, the LDO (LDOEN without BYPASS), is
 * taken once after power-up; later writes are ignored. No time-out: without core voltage there is nothing else to do.
 */
__attribute__((naked, used)) void supply_init(void)
{
    __asm volatile(
        "ldr r0, =0x58024800\n"  /* PWR */
        "ldr r1, [r0, #0x0C]\n"  /* CR3: SCUEN, LDOEN, BYPASS */
        "bic r1, r1, #7\n"
        "orr r1, r1, #2\n"
        "str r1, [r0, #0x0C]\n"
        "1: ldr r1, [r0, #0x04]\n" /* CSR1 */
        "tst r1, #0x2000\n"      /* ACTVOSRDY */
        "beq 1b\n"
        "bx lr\n"
        ".ltorg\n");
}
