// The gradients of bias and weight, of shift and scale, or of embedding and gate, added to what is there where the caller accumulates.
//# use shared/params
const SHARED_BY_HEADS: bool = true;

fn keep(number: u32, sum: vec2<f32>) {
    var channel = number;
    if summed >= BY_MODULATION {
        channel += number / params.modulation_line * params.modulation_gap;
    }
    var added = sum;
    if params.accumulate != 0u {
        added += vec2<f32>(grad_bias_load(channel), grad_weight_load(channel));
    }
    grad_bias_store(channel, added.x);
    grad_weight_store(channel, added.y);
}
