/* edgekd port
 * machine: mps3-an547
 * cores: cortex-m55
 * flash: 0x00000000 512K
 * ram: 0x20000000 512K
 * timer: 32000000
 *
 * Arm MPS3 with FPGA image AN547 (Corstone SSE-300): code in ITCM, data in DTCM. The system counter (64 bits, of which the lower 32 are
 * read) and CMSDK UART 0 by their secure addresses.
 */
#include "ek_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define COUNTER_CONTROL 0x58100000u
#define COUNTER_READ 0x58100008u
#define UART 0x59303000u

void ekp_init(void) {
    REGISTER(COUNTER_CONTROL) = 1; /* CNTCR: enabled */
    REGISTER(UART + 0x10) = 16;    /* BAUDDIV: its least */
    REGISTER(UART + 0x08) = 3;     /* CTRL: transmits and receives */
    (void)REGISTER(UART);          /* whatever came before */
}

uint32_t ekp_ticks(void) { return REGISTER(COUNTER_READ); }

void ekp_put(uint8_t byte) {
    while (REGISTER(UART + 0x04) & 1u) {
    }
    REGISTER(UART) = byte;
}

uint8_t ekp_get(void) {
    while (!(REGISTER(UART + 0x04) & 2u)) {
    }
    return (uint8_t)REGISTER(UART);
}
