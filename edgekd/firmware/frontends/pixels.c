/* edgekd front-end: 8-bit pixels to what the model is fed. May be done in place where the input has 8 bits. */
static void ek_features(const uint8_t *pixels, EK_INPUT *input) {
#if EK_FLIP
    /* q = p - 128 is the other highest bit: four at a time. */
    uint32_t n = 0;
    for (; n + 4 <= EK_COUNT; n += 4) {
        uint32_t four;
        memcpy(&four, pixels + n, 4);
        four ^= 0x80808080u;
        memcpy(input + n, &four, 4);
    }
    for (; n < EK_COUNT; n++) {
        input[n] = ek_fed(pixels[n]);
    }
#else
    for (uint32_t n = 0; n < EK_COUNT; n++) {
        input[n] = ek_fed(pixels[n]);
    }
#endif
}
