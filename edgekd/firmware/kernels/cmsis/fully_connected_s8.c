/* edgekd kernel; needs: nn */
/* One scale for all channels. */
static void ek_fully_connected_nn_s8(const ek_conv *p, const int8_t *x, int8_t *y, void *scratch)
{
    const cmsis_nn_context context = {scratch, 0};
    const cmsis_nn_fc_params params = {-p->in_zero, 0, p->out_zero, {p->low, p->high}};
    const cmsis_nn_per_tensor_quant_params scale = {p->multiplier[0], p->multiplier[p->out_c]};
    const cmsis_nn_dims in = ek_nn_dims(p->in_h, 1, 1, p->in_c), filter = ek_nn_dims(p->in_c, 1, 1, p->out_c);
    const cmsis_nn_dims bias = ek_nn_dims(0, 0, 0, p->out_c), out = ek_nn_dims(p->in_h, 1, 1, p->out_c);
    (void)arm_fully_connected_s8(&context, &params, &scale, &in, x, &filter, p->weights, &bias, p->bias, &out, y);
}
