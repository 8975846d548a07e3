//! Several x and y in turn, so that none is still in a cache when it is read again.

use wgpu_norm::wgpu;

use super::{Device, Trouble};

/// All x are in one buffer, all y in another: every dispatch writes the same buffer as the one before, so it waits for
/// it, as a layer of a network does.
pub(crate) struct Ring {
    pub(crate) x: wgpu::Buffer,
    pub(crate) y: wgpu::Buffer,
    /// Bytes of one tensor.
    pub(crate) bytes: u64,
    /// From one tensor to the next.
    pub(crate) stride: u64,
    pub(crate) pairs: u64,
}

/// More than any cache on a GPU holds.
const BEYOND_CACHES: u64 = 128 << 20;
const MOST_BYTES: u64 = 512 << 20;
/// So small a tensor is in a cache all the same.
const MOST_PAIRS: u64 = 64;
/// What offsets of bindings are multiples of, on any device.
const ALIGNMENT: u64 = 256;

impl Ring {
    /// With these values in every x.
    pub(crate) fn new(device: &Device, values: &[f32]) -> Result<Self, Trouble> {
        let contents: &[u8] = bytemuck::cast_slice(values);
        let bytes = contents.len() as u64;
        let stride = bytes.next_multiple_of(ALIGNMENT);
        let pair = 2 * stride;
        let fit = (MOST_BYTES / pair).min(device.device.limits().max_buffer_size / stride).max(1);
        let pairs = BEYOND_CACHES.div_ceil(pair).clamp(2, MOST_PAIRS).min(fit);
        let ring =
            Self { x: device.buffer("x", pairs * stride), y: device.buffer("y", pairs * stride), bytes, stride, pairs };
        // Each on its own, since wgpu holds on to what it has not submitted.
        for pair in 0..pairs {
            device.queue.write_buffer(&ring.x, ring.offset(pair), contents);
            device.run(device.device.create_command_encoder(&Default::default()))?;
        }
        // Else wgpu does so before the first dispatch that binds each part, and the wall's time has it in.
        let mut encoder = device.device.create_command_encoder(&Default::default());
        encoder.clear_buffer(&ring.y, 0, None);
        device.run(encoder)?;
        Ok(ring)
    }

    pub(crate) fn offset(&self, pair: u64) -> u64 {
        pair * self.stride
    }

    /// The first tensor of a buffer of this ring.
    pub(crate) fn first<'a>(&self, buffer: &'a wgpu::Buffer) -> wgpu::BufferSlice<'a> {
        buffer.slice(..self.bytes)
    }
}
