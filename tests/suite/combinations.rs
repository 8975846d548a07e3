//! What of all that may follow a norm fits the storage buffers of a pass: the table of `docs/norms.md`.

use wgpu_norm::{Activation, Backward, BindError, Gpu, GroupNorm, Modulation, Norm, Operands, View};

use crate::support::{changed, generated_parts, gpu, in_repository};

#[derive(Clone, Copy)]
struct Combination {
    modulated: bool,
    skip: bool,
    activated: bool,
}

impl Combination {
    fn words(self) -> String {
        let words = [(self.modulated, "modulation"), (self.skip, "skip"), (self.activated, "activation")];
        let words: Vec<_> = words.iter().filter_map(|&(is, word)| is.then_some(word)).collect();
        if words.is_empty() { "–".to_owned() } else { words.join(", ") }
    }

    fn of(self, mut norm: Box<dyn Norm>, modulation: &Modulation) -> Box<dyn Norm> {
        if self.modulated {
            norm = Box::new(norm.modulated(modulation.clone()));
        }
        if self.skip {
            norm = Box::new(norm.plus_skip());
        }
        if self.activated {
            norm = Box::new(norm.then(Activation::Silu));
        }
        norm
    }

    /// Weight and all that follows the norm, in buffers of their own, or the pairs in one each.
    fn given<'a>(self, operands: Operands<'a>, [weight, scale, skip]: [[View<'a>; 2]; 3], back: bool) -> Operands<'a> {
        let mut operands = operands.weight(weight[0]);
        if !back || self.modulated || self.activated {
            operands = operands.bias(weight[1]);
        }
        if self.modulated {
            operands = operands.scale(scale[0]).shift(scale[1]);
        }
        if self.skip && (!back || self.activated) {
            operands = operands.skip(skip[0]);
        }
        operands
    }
}

/// How many bindings a device must have, if not the 8 of wgpu's default limits. An error names those of the first pass that it is of.
fn beyond_eight(devices: &[Gpu], norm: &dyn Norm, backward: Option<Backward>, operands: &Operands<'_>) -> Option<u32> {
    let own = gpu().device().limits().max_storage_buffers_per_shader_stage;
    let fits = |gpu: &&Gpu| {
        let context = gpu.context();
        let plan = backward.map_or_else(|| context.plan(norm), |wanted| context.plan_backward(norm, wanted));
        match context.bind(&plan.unwrap(), operands) {
            Err(BindError::StorageBuffers { .. }) => false,
            // What is beyond the device itself is refused for that.
            bound => context.capabilities().max_storage_buffers > own || bound.map(|_| true).unwrap(),
        }
    };
    let least = devices.iter().find(fits).unwrap().context().capabilities().max_storage_buffers;
    Some(least).filter(|&least| least > 8)
}

#[test]
fn the_table_of_storage_buffers_is_current() {
    let devices: Vec<_> = (8..=16).map(|has| changed(|c| c.max_storage_buffers = has)).collect();
    let all: Vec<_> = (0..15).map(|_| gpu().upload_blocking("tensor", &[0.0; 16_384]).unwrap()).collect();
    let mut table =
        "| after the norm | forward | with `residual`, `residual_out`, `statistics` | backward, all gradients |\n\
                     |---|---|---|---|"
            .to_owned();
    for combination in (0..8).map(|i| Combination { modulated: i & 1 > 0, skip: i & 2 > 0, activated: i & 4 > 0 }) {
        let norm = Box::new(GroupNorm::channels_last(&[2, 1024, 8], 2).unwrap());
        let norm = combination.of(norm, &Modulation::new(&[2, 1, 8]));
        let cells = [true, false].map(|apart| {
            let pair = |number: usize| {
                let second = if apart { View::new(&all[number + 1], 0) } else { View::new(&all[number], 32_768) };
                [View::new(&all[number], 0), second]
            };
            let given = |operands, back| combination.given(operands, [pair(0), pair(2), pair(4)], back);
            let forward = given(Operands::new(&all[6], &all[7]), false);
            let more = forward.residual(&all[8]).residual_out(&all[9]).statistics(&all[10]);
            let ([weight, bias], [scale, shift]) = (pair(9), pair(11));
            let mut backward = given(Operands::backward(&all[6], &all[7]), true).statistics(&all[13]);
            backward = backward.grad_input(&all[8]).grad_weight(weight).grad_bias(bias);
            if combination.modulated {
                backward = backward.grad_scale(scale).grad_shift(shift);
            }
            if combination.skip && combination.activated {
                backward = backward.grad_skip(&all[14]);
            }
            let saved = Some(Backward::new().saved_statistics());
            [(None, forward), (None, more), (saved, backward)]
                .map(|(wanted, operands)| beyond_eight(&devices, &norm, wanted, &operands))
        });
        table += &format!("\n| {} |", combination.words());
        for (apart, together) in cells[0].iter().zip(cells[1]) {
            table += &match (apart, together) {
                (None, _) => " fits |".to_owned(),
                (Some(apart), None) => format!(" {apart}; in pairs fits |"),
                (Some(apart), Some(together)) => format!(" {apart}; in pairs {together} |"),
            };
        }
    }
    generated_parts(&in_repository("docs/norms.md"), &[("storage buffers", table)]);
}
