/* edgekd kernel; needs: nn */
static void ek_average_pool_nn_s8(const ek_pool *p, const int8_t *x, int8_t *y, void *scratch)
{
    const cmsis_nn_context context = {scratch, 0};
    const cmsis_nn_pool_params params = {{p->stride_w, p->stride_h}, {p->pad_left, p->pad_top}, {p->low, p->high}};
    const cmsis_nn_dims in = ek_nn_dims(1, p->in_h, p->in_w, p->channels), filter = ek_nn_dims(1, p->k_h, p->k_w, 1);
    const cmsis_nn_dims out = ek_nn_dims(1, p->out_h, p->out_w, p->channels);
    (void)arm_avgpool_s8(&context, &params, &in, x, &filter, &out, y);
}
