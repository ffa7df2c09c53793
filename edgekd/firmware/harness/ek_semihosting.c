/* Transport by semihosting: requests come from the file edgekd.in of the host's folder, answers go to edgekd.out.
 * Arm, Semihosting for AArch32 and AArch64 (2025): the operation in r0, a block of parameters in r1, BKPT 0xAB. */
#include "ek_harness.h"

enum { OPEN = 0x01, WRITE = 0x05, READ = 0x06, EXIT_EXTENDED = 0x20 };

static uint32_t in, out;

static uint32_t call(uint32_t operation, const void *parameters) {
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = parameters;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uint32_t open_file(const char *name, uint32_t length, uint32_t mode) {
    const uint32_t block[3] = {(uint32_t)(uintptr_t)name, mode, length};
    return call(OPEN, block);
}

int ek_open(void) {
    if (in) return 0; /* at its end */
    in = open_file("edgekd.in", 9, 1);    /* rb */
    out = open_file("edgekd.out", 10, 5); /* wb */
    if (in == UINT32_MAX || out == UINT32_MAX) ek_exit(72);
    return 1;
}

int ek_read(void *bytes, uint32_t count) {
    uint32_t at = (uint32_t)(uintptr_t)bytes;
    while (count) {
        const uint32_t block[3] = {in, at, count};
        const uint32_t missing = call(READ, block);
        if (missing >= count) return 0;
        at += count - missing;
        count = missing;
    }
    return 1;
}

void ek_write(const void *bytes, uint32_t count) {
    const uint32_t block[3] = {out, (uint32_t)(uintptr_t)bytes, count};
    if (call(WRITE, block)) ek_exit(73);
}

void ek_exit(uint32_t code) {
    const uint32_t block[2] = {0x20026, code}; /* ADP_Stopped_ApplicationExit */
    call(EXIT_EXTENDED, block);
    for (;;) {
    }
}
