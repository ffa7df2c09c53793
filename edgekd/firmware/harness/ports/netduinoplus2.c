/* edgekd port
 * machine: netduinoplus2
 * cores: cortex-m4f
 * flash: 0x08000000 1024K
 * ram: 0x20000000 128K
 * timer: 62500000
 *
 * Netduino Plus 2 (STM32F405). TIM2 counts 32 bits up; QEMU clocks it with 1 GHz, divided by 16 here. USART1. ST RM0090.
 */
#include "ek_port.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define TIM2 0x40000000u
#define USART1 0x40011000u

void ekp_init(void) {
    REGISTER(TIM2 + 0x28) = 15;          /* PSC */
    REGISTER(TIM2 + 0x2C) = 0xFFFFFFFFu; /* ARR */
    REGISTER(TIM2 + 0x14) = 1;           /* EGR: take both over */
    REGISTER(TIM2 + 0x00) = 1;           /* CR1: enabled */
    REGISTER(USART1 + 0x0C) = 0x200C;    /* CR1: enabled, transmits and receives */
    (void)REGISTER(USART1 + 0x04);       /* whatever came before */
}

uint32_t ekp_ticks(void) { return REGISTER(TIM2 + 0x24); }

void ekp_put(uint8_t byte) {
    while (!(REGISTER(USART1) & 0x80u)) { /* SR: TXE */
    }
    REGISTER(USART1 + 0x04) = byte;
}

uint8_t ekp_get(void) {
    while (!(REGISTER(USART1) & 0x20u)) { /* SR: RXNE */
    }
    return (uint8_t)REGISTER(USART1 + 0x04);
}
