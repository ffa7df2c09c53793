/* edgekd front-end: frames out of samples as they come, the newest of them in a ring of rows. */
static uint32_t ek_push(ek_stream *s, const int16_t *samples, uint32_t count, ek_bin *x) {
    uint32_t made = 0;
    while (count) {
        uint32_t taken;
        if (s->skipped) { /* a hop longer than a frame leaves samples out */
            taken = count < s->skipped ? count : s->skipped;
            s->skipped -= taken;
        } else {
            taken = EK_FRAME - s->held < count ? EK_FRAME - s->held : count;
            memcpy(s->samples + s->held, samples, taken * sizeof *samples);
            s->held += taken;
        }
        samples += taken;
        count -= taken;
        if (s->held < EK_FRAME) {
            continue;
        }
        ek_features(s->samples, s->rows[s->next], x);
        s->next = s->next + 1 == EK_FRAMES ? 0 : s->next + 1;
        made++;
#if EK_HOP < EK_FRAME
        memmove(s->samples, s->samples + EK_HOP, (EK_FRAME - EK_HOP) * sizeof *samples);
        s->held = EK_FRAME - EK_HOP;
#else
        s->held = 0;
        s->skipped = EK_HOP - EK_FRAME;
#endif
    }
    return made;
}
