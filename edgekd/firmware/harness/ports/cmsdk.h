/* Timer 0 and UART 0 of Arm's Cortex-M System Design Kit (Arm DDI 0479), shared by the ports of its boards. */
#include "ek_port.h"

#ifndef CMSDK_TIMER
#define CMSDK_TIMER 0x40000000u
#endif
#ifndef CMSDK_UART
#define CMSDK_UART 0x40004000u
#endif
#define REGISTER(base, offset) (*(volatile uint32_t *)((base) + (offset)))

void ekp_init(void) {
    REGISTER(CMSDK_TIMER, 0x00) = 0;           /* CTRL: stopped */
    REGISTER(CMSDK_TIMER, 0x08) = 0xFFFFFFFFu; /* RELOAD */
    REGISTER(CMSDK_TIMER, 0x04) = 0xFFFFFFFFu; /* VALUE */
    REGISTER(CMSDK_TIMER, 0x00) = 1;           /* runs down, no interrupt */
    REGISTER(CMSDK_UART, 0x10) = 16;           /* BAUDDIV: its least */
    REGISTER(CMSDK_UART, 0x08) = 3;            /* CTRL: transmits and receives */
    (void)REGISTER(CMSDK_UART, 0x00);          /* whatever came before */
}

uint32_t ekp_ticks(void) { return ~REGISTER(CMSDK_TIMER, 0x04); }

void ekp_put(uint8_t byte) {
    while (REGISTER(CMSDK_UART, 0x04) & 1u) { /* STATE: the transmit buffer is full */
    }
    REGISTER(CMSDK_UART, 0x00) = byte;
}

uint8_t ekp_get(void) {
    while (!(REGISTER(CMSDK_UART, 0x04) & 2u)) { /* STATE: the receive buffer is empty */
    }
    return (uint8_t)REGISTER(CMSDK_UART, 0x00);
}
