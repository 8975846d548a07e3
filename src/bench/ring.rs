//! Several tensors in turn, so that none is still in a cache when it is read again.

use wgpu_norm::wgpu;

use super::{Device, Trouble};

/// All x are in one buffer, all that is written in another: every dispatch writes the same buffer as the one before, so it waits for
/// it, as a layer of a network does.
pub(crate) struct Ring {
    pub(crate) x: wgpu::Buffer,
    /// In a backward pass: the gradients of y.
    pub(crate) grad_output: Option<wgpu::Buffer>,
    /// What is written: y, or in a backward pass the gradient of x.
    pub(crate) out: wgpu::Buffer,
    /// Bytes of the elements of one tensor, without what lies between.
    pub(crate) bytes: u64,
    /// Those of a tensor that is written, in whole words.
    pub(crate) words: u64,
    /// From one tensor to the next.
    pub(crate) stride: u64,
    /// How many of each.
    pub(crate) turns: u64,
}

/// More than any cache on a GPU holds.
const BEYOND_CACHES: u64 = 128 << 20;
const MOST_BYTES: u64 = 512 << 20;
/// So small a tensor is in a cache all the same.
const MOST_TURNS: u64 = 64;
/// What offsets of bindings are multiples of, on any device.
const ALIGNMENT: u64 = 256;

impl Ring {
    /// With these bytes in every x, of which so many are its elements, and in every gradient of y where there are such.
    pub(crate) fn new(device: &Device, x: &[u8], bytes: u64, grad_output: Option<&[u8]>) -> Result<Self, Trouble> {
        let words = bytes.next_multiple_of(4);
        let stride = (x.len() as u64).next_multiple_of(ALIGNMENT);
        let turn = stride * if grad_output.is_some() { 3 } else { 2 };
        let fit = (MOST_BYTES / turn).min(device.device.limits().max_buffer_size / stride).max(1);
        let turns = BEYOND_CACHES.div_ceil(turn).clamp(2, MOST_TURNS).min(fit);
        let buffer = |label| device.buffer(label, turns * stride);
        let ring = Self {
            x: buffer("x"),
            grad_output: grad_output.map(|_| buffer("gradient of y")),
            out: buffer("written"),
            bytes,
            words,
            stride,
            turns,
        };
        for (buffer, values) in [(Some(&ring.x), Some(x)), (ring.grad_output.as_ref(), grad_output)] {
            let (Some(buffer), Some(values)) = (buffer, values) else { continue };
            let mut values = values.to_vec();
            values.resize(values.len().next_multiple_of(4), 0);
            // Each on its own, since wgpu holds on to what it has not submitted.
            for turn in 0..turns {
                device.queue.write_buffer(buffer, ring.offset(turn), &values);
                device.run(device.device.create_command_encoder(&Default::default()))?;
            }
        }
        // Else wgpu does so before the first dispatch that binds each part, and the wall's time has it in.
        let mut encoder = device.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&ring.out, 0, None);
        device.run(encoder)?;
        Ok(ring)
    }

    pub(crate) fn offset(&self, turn: u64) -> u64 {
        turn * self.stride
    }

    /// The first tensor that is written, in whole words.
    pub(crate) fn first(&self) -> wgpu::BufferSlice<'_> {
        self.out.slice(..self.words)
    }
}
