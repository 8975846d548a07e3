// What follows the norm: scale and shift, a skip, an activation; and the way of dy back through them. Which activation it is `activation`
// says; coefficients are those of src/epilogue.rs.
// Of exp, tanh and erf WGSL promises too little, or has none.
//# use shared/params, <width>, <modulation>
const RELU: u32 = 1u;
const SILU: u32 = 2u;
const GELU: u32 = 3u;
const GELU_TANH: u32 = 4u;

// exp(v): 0 and infinity from 2^-127 and 2^128 on. Of NaN it is any number.
fn exponential(v: Pack) -> Pack {
    let power = clamp(v * LOG2_E, Pack(-127.0), Pack(128.0));
    let whole = round(power);
    let f = power - whole;
    let rest = 1.0 + f * (EXP2_1 + f * (EXP2_2 + f * (EXP2_3 + f * (EXP2_4 + f * EXP2_5))));
    // The last bits of the sum are the exponent with its bias.
    return rest * bitcast<Pack>(bitcast<PackBits>(whole + (0x1p23f + 127.0)) << PackBits(23u));
}

fn sigmoid(v: Pack) -> Pack {
    return 1.0 / (1.0 + exponential(-v));
}

struct Normal {
    density: Pack,
    // The share below.
    below: Pack,
}

fn normal_at(v: Pack) -> Normal {
    let t = 1.0 / (1.0 + NORMAL_T * abs(v));
    let density = NORMAL_DENSITY * exponential(v * v * -0.5);
    let beyond = density * (t * (NORMAL_1 + t * (NORMAL_2 + t * (NORMAL_3 + t * (NORMAL_4 + t * NORMAL_5)))));
    return Normal(density, select(1.0 - beyond, beyond, v < Pack(0.0)));
}

// 0 where y is below 0, and so not NaN, else v. By bits, as compilers take NaN for impossible.
fn unless_negative(y: Pack, v: Pack) -> Pack {
    return select(v, Pack(0.0), (bitcast<PackBits>(y) ^ PackBits(0x80000000u)) <= PackBits(0x7f800000u));
}

fn activated(y: Pack) -> Pack {
    if activation == RELU {
        return unless_negative(y, y);
    }
    if activation == SILU {
        return y / (1.0 + exponential(-y));
    }
    if activation == GELU {
        return y * normal_at(y).below;
    }
    if activation == GELU_TANH {
        return y / (1.0 + exponential(-y * (TANH_1 + TANH_3 * y * y)));
    }
    return y;
}

// `dy` times the slope at y.
fn activated_gradient(dy: Pack, y: Pack) -> Pack {
    if activation == RELU {
        return select(unless_negative(y, dy), Pack(0.0), y == Pack(0.0));
    }
    if activation == SILU {
        let share = sigmoid(y);
        return dy * (share + y * (share * (1.0 - share)));
    }
    if activation == GELU {
        let normal = normal_at(y);
        return dy * (normal.below + y * normal.density);
    }
    if activation == GELU_TANH {
        let share = sigmoid(y * (TANH_1 + TANH_3 * y * y));
        // Where the square would be no f32, the share is 0 or 1 long since.
        let near = clamp(y, Pack(-16.0), Pack(16.0));
        let slope = TANH_1 + 3.0 * TANH_3 * near * near;
        return dy * (share + y * (share * (1.0 - share) * slope));
    }
    return dy;
}

// What the activation is of, for y = xhat * weight + bias of element number `at`.
fn before_activation(y: Pack, at: u32) -> Pack {
    let v = modulated(y, at);
    if adds_skip {
        return v + skip_load(at);
    }
    return v;
}

// What is stored in place of y.
fn epilogue(y: Pack, at: u32) -> Pack {
    return activated(before_activation(y, at));
}

// From the gradient of what was stored to that of what the activation is of. Without one, y may be anything.
fn above_skip(dy: Pack, y: Pack, at: u32) -> Pack {
    if activation == 0u {
        return dy;
    }
    return activated_gradient(dy, before_activation(y, at));
}

// And to that of y.
fn epilogue_gradient(dy: Pack, y: Pack, at: u32) -> Pack {
    return above_skip(dy, y, at) * modulation_factor(at);
}

// Whether sums of gradients go by y.
fn needs_y() -> bool {
    return activation != 0u || summed == BY_MODULATION;
}
