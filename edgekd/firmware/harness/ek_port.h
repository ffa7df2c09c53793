/* What a port provides (ekp_). One file a board: ports/NAME.c; docs/porting.md explains it. */
#ifndef EK_PORT_H
#define EK_PORT_H
#include <stdint.h>

/* Called once, before ek_main and after memory is set up: clocks, timer, UART. */
void ekp_init(void);

/* A free-running counter that counts up and wraps at 2^32. Its frequency stands in the port's header ("timer"). */
uint32_t ekp_ticks(void);

/* One byte over the UART; both wait until it is through. Only firmware of the UART transport calls them. */
void ekp_put(uint8_t byte);
uint8_t ekp_get(void);

#endif
