/* How deep the stack went: it is painted from its bottom up to here, and looked at afterwards. */
#include "ek_harness.h"

#define PAINT 0xA5C3F00Du

/* In assembly, since nothing of the function's own may lie on the stack that it fills. */
__attribute__((naked, noinline)) void ek_paint(void) {
    __asm volatile(
        ".syntax unified\n\t"
        "ldr r0, =ek_stack_bottom\n\t"
        "ldr r1, =0xA5C3F00D\n\t"
        "mov r2, sp\n\t"
        "b 2f\n\t"
        "1: str r1, [r0]\n\t"
        "adds r0, #4\n\t"
        "2: cmp r0, r2\n\t"
        "blo 1b\n\t"
        "bx lr\n\t"
        ".ltorg");
}

__attribute__((noinline)) uint32_t ek_lowest_used(void) {
    const volatile uint32_t *at = ek_stack_bottom;
    while (at < ek_stack_top && *at == PAINT) at++;
    return (uint32_t)(uintptr_t)at;
}
