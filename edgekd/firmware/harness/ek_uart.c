/* Transport over the port's UART: the same bytes as by semihosting, in frames with a checksum, as stated in edgekd/mcu/frames.py.
 *
 * The firmware asks and the host answers, one frame each, so that neither talks while the other is busy and a UART without FIFO loses
 * nothing. The firmware needs no clock: it is the host that repeats what was lost, and whatever is not the awaited reply makes the
 * firmware say again what it said last. */
#include "ek_harness.h"
#include "ek_port.h"

enum { PAYLOAD = 240, HEAD = 2, CHECKSUM = 4, LARGEST = HEAD + PAYLOAD + CHECKSUM };
enum { HELLO = 'H', WANT = 'W', DATA = 'D', EXIT = 'X', RESET = 'R' };
enum { VERSION = 1 };

static uint8_t out[HEAD + PAYLOAD + CHECKSUM], in[LARGEST + 2]; /* a frame that goes out; one that came in, still stuffed */
static uint32_t out_bytes;                                      /* of the payload */
static const uint8_t *given;                                    /* what is left of the last reply */
static uint32_t given_bytes;
static uint32_t session; /* 0 from boot until a host begins one */
static uint8_t sequence, gone;

/* CRC-32 of IEEE 802.3, bit by bit: a table would take 1 KB. */
static uint32_t crc(const uint8_t *bytes, uint32_t count) {
    uint32_t value = 0xFFFFFFFFu;
    while (count--) {
        value ^= *bytes++;
        for (uint32_t bit = 0; bit < 8; bit++) value = value >> 1 ^ (0xEDB88320u & (0u - (value & 1u)));
    }
    return ~value;
}

static uint32_t word(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void set_word(uint8_t *bytes, uint32_t value) {
    for (uint32_t i = 0; i < 4; i++) bytes[i] = (uint8_t)(value >> 8 * i);
}

/* Stuffed so that a zero is nothing but the border of a frame: Cheshire and Baker, Consistent Overhead Byte Stuffing (1999). A frame is
 * shorter than 254 bytes, so that no run is broken. */
static void send(void) {
    const uint32_t count = HEAD + out_bytes + CHECKSUM;
    set_word(out + HEAD + out_bytes, crc(out, HEAD + out_bytes));
    ekp_put(0);
    for (uint32_t at = 0; at <= count;) {
        uint32_t run = 0;
        while (at + run < count && out[at + run]) run++;
        ekp_put((uint8_t)(run + 1));
        for (uint32_t i = 0; i < run; i++) ekp_put(out[at + i]);
        at += run + 1;
    }
    ekp_put(0);
}

/* Bytes between two zeros, unstuffed in place; 0 for what is no frame. */
static uint32_t unstuff(uint32_t count) {
    uint32_t from = 0, to = 0;
    while (from < count) {
        const uint32_t run = in[from++] - 1u;
        if (run > count - from) return 0;
        for (uint32_t i = 0; i < run; i++) in[to++] = in[from++];
        if (from < count) in[to++] = 0;
    }
    return to;
}

/* The next frame that is whole: its bytes without the checksum. */
static uint32_t receive(void) {
    for (uint32_t count = 0;;) {
        const uint8_t byte = ekp_get();
        if (byte) {
            if (count <= sizeof in) count++; /* one more than there is room for: too long */
            if (count <= sizeof in) in[count - 1] = byte;
            continue;
        }
        if (count && count <= sizeof in) {
            const uint32_t length = unstuff(count);
            if (length >= HEAD + CHECKSUM && crc(in, length - CHECKSUM) == word(in + length - CHECKSUM)) return length - CHECKSUM;
        }
        count = 0;
    }
}

/* Send what stands in `out`, and wait for its reply. 0 where a host began another session instead. */
static int exchange(uint8_t kind) {
    out[0] = kind;
    out[1] = sequence;
    for (;;) {
        send();
        const uint32_t length = receive();
        if (in[0] == RESET && length == HEAD + 4 && word(in + HEAD) != session) {
            session = word(in + HEAD);
            gone = 1;
            return 0;
        }
        if (in[0] == DATA && in[1] == sequence) {
            sequence++;
            given = in + HEAD;
            given_bytes = length - HEAD;
            out_bytes = 0;
            return 1;
        }
    }
}

/* "Here I am": protocol's version, session, models, frequency of the timer, name of the port. */
int ek_open(void) {
    do {
        gone = 0;
        sequence = 0;
        given_bytes = 0;
        set_word(out + HEAD, VERSION);
        set_word(out + HEAD + 4, session);
        set_word(out + HEAD + 8, ek_model_count);
        set_word(out + HEAD + 12, EK_TIMER_HZ);
        out_bytes = 16;
        for (const char *name = EK_BOARD; *name && out_bytes < PAYLOAD;) out[HEAD + out_bytes++] = (uint8_t)*name++;
    } while (!exchange(HELLO));
    return 1;
}

static int flush(void) { return gone ? 0 : !out_bytes || exchange(DATA); }

int ek_read(void *bytes, uint32_t count) {
    uint8_t *to = bytes;
    while (count) {
        if (!given_bytes) {
            if (!flush()) return 0;
            set_word(out + HEAD, count);
            out_bytes = 4;
            if (!exchange(WANT)) return 0;
        }
        for (; count && given_bytes; count--, given_bytes--) *to++ = *given++;
    }
    return 1;
}

void ek_write(const void *bytes, uint32_t count) {
    const uint8_t *from = bytes;
    while (count--) {
        if (out_bytes == PAYLOAD && !flush()) return;
        if (gone) return;
        out[HEAD + out_bytes++] = *from++;
    }
}

/* Whoever listens learns that the firmware stopped, and by a new session starts it anew: the chip's own reset (Armv6-M ARM, B3.2.6). */
void ek_exit(uint32_t code) {
    set_word(out + HEAD, code);
    out_bytes = 4;
    while (exchange(EXIT)) {
        set_word(out + HEAD, code);
        out_bytes = 4;
    }
    *(volatile uint32_t *)0xE000ED0Cu = 0x05FA0004u; /* AIRCR: SYSRESETREQ */
    __asm volatile("dsb" ::: "memory");
    for (;;) {
    }
}
