/* Transport over the port's UART: the same bytes as by semihosting. There is no end: the firmware waits for the next request. */
#include "ek_harness.h"
#include "ek_port.h"

/* "EKHI": from now on requests are heard; what was sent before may be lost. */
void ek_open(void) {
    const uint32_t hello = 0x49484B45u;
    ek_write(&hello, sizeof hello);
}

int ek_read(void *bytes, uint32_t count) {
    uint8_t *to = bytes;
    for (uint32_t i = 0; i < count; i++) to[i] = ekp_get();
    return 1;
}

void ek_write(const void *bytes, uint32_t count) {
    const uint8_t *from = bytes;
    for (uint32_t i = 0; i < count; i++) ekp_put(from[i]);
}

/* "EKEX" and the code: whoever listens learns that the firmware stopped. */
void ek_exit(uint32_t code) {
    const uint32_t last[2] = {0x58454B45u, code};
    ek_write(last, sizeof last);
    for (;;) {
    }
}
