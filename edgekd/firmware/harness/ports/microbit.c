/* edgekd port
 * machine: microbit
 * cores: cortex-m0
 * flash: 0x00000000 256K
 * ram: 0x20000000 16K
 * timer: 16000000
 *
 * BBC micro:bit (nRF51822). TIMER0 with 32 bits at 16 MHz, and the UART. Nordic, nRF51 Series Reference Manual 3.0.
 */
#include "ek_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define TIMER0 0x40008000u
#define UART0 0x40002000u

void ekp_init(void) {
    REGISTER(UART0 + 0x500) = 4;  /* ENABLE */
    REGISTER(UART0 + 0x000) = 1;  /* STARTRX */
    REGISTER(UART0 + 0x008) = 1;  /* STARTTX */
    /* Last: it wakes QEMU, which else may never look again whether the UART listens. */
    REGISTER(TIMER0 + 0x508) = 3; /* BITMODE: 32 bits */
    REGISTER(TIMER0 + 0x510) = 0; /* PRESCALER */
    REGISTER(TIMER0 + 0x00C) = 1; /* CLEAR */
    REGISTER(TIMER0 + 0x000) = 1; /* START */
}

uint32_t ekp_ticks(void) {
    REGISTER(TIMER0 + 0x040) = 1; /* CAPTURE[0] */
    return REGISTER(TIMER0 + 0x540);
}

void ekp_put(uint8_t byte) {
    REGISTER(UART0 + 0x11C) = 0; /* TXDRDY */
    REGISTER(UART0 + 0x51C) = byte;
    while (!REGISTER(UART0 + 0x11C)) {
    }
}

uint8_t ekp_get(void) {
    while (!REGISTER(UART0 + 0x108)) { /* RXDRDY */
    }
    REGISTER(UART0 + 0x108) = 0;
    return (uint8_t)REGISTER(UART0 + 0x518);
}
