//! The adapter that every command takes, with a device that can write timestamps where the adapter can.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use wgpu_norm::{Context, Gpu, Safety, features_for, limits_for, wgpu};

use super::Trouble;

pub(crate) struct Device {
    pub(crate) info: wgpu::AdapterInfo,
    pub(crate) description: String,
    pub(crate) context: Context,
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    /// Whether shaders are compiled without checks.
    pub(crate) trusting: bool,
    /// The first thing that went wrong where no one was asked.
    fault: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// On the adapter whose name contains `name`, else on the best.
    pub(crate) fn open(name: Option<&str>) -> Result<Self, Trouble> {
        // The library chooses, and is asked for no more than its choice.
        let gpu = match name {
            Some(name) => Gpu::with_adapter_blocking(name),
            None => Gpu::new_blocking(),
        }?;
        let (info, description) = (gpu.adapter_info().clone(), gpu.describe());
        drop(gpu);
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
        let adapter = adapters
            .into_iter()
            .find(|adapter| adapter.get_info() == info)
            .ok_or_else(|| Trouble::AdapterGone { name: info.name.clone() })?;
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("wgpu-norm bench"),
            required_features: features_for(&adapter) | (adapter.features() & wgpu::Features::TIMESTAMP_QUERY),
            required_limits: limits_for(&adapter),
            ..Default::default()
        }))
        .map_err(|error| Trouble::NoDevice { name: info.name.clone(), reason: error.to_string() })?;
        let fault = Arc::new(Mutex::new(None));
        let (of_error, of_loss) = (Arc::clone(&fault), Arc::clone(&fault));
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| note(&of_error, error.to_string())));
        device.set_device_lost_callback(move |reason, message| {
            // Dropped at the end, it is gone as it should be.
            if reason != wgpu::DeviceLostReason::Destroyed {
                note(&of_loss, format!("lost: {message}"));
            }
        });
        Ok(Self { info, description, context: Context::new(&device), device, queue, trusting: false, fault })
    }

    /// The same, with shaders compiled without checks.
    #[allow(unsafe_code)]
    pub(crate) fn trusted(mut self) -> Self {
        // SAFETY: shapes, buffers and capabilities are the library's own doing, and each result is compared.
        self.context = unsafe { self.context.with_safety(Safety::Trusted) };
        self.trusting = true;
        self
    }

    /// What went wrong since this was last asked.
    pub(crate) fn check(&self) -> Result<(), Trouble> {
        match self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(said) => Err(Trouble::Device { said }),
            None => Ok(()),
        }
    }

    /// Seconds from submitting to the end of waiting.
    pub(crate) fn run(&self, encoder: wgpu::CommandEncoder) -> Result<f64, Trouble> {
        let commands = encoder.finish();
        let start = Instant::now();
        self.queue.submit([commands]);
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| Trouble::device(&error))?;
        let seconds = start.elapsed().as_secs_f64();
        self.check()?;
        Ok(seconds)
    }

    /// What lies in a buffer.
    pub(crate) fn read<T: bytemuck::Pod + Send>(&self, slice: wgpu::BufferSlice<'_>) -> Result<Vec<T>, Trouble> {
        let (done, wait) = std::sync::mpsc::channel();
        wgpu::util::DownloadBuffer::read_buffer(&self.device, &self.queue, &slice, move |result| {
            // Nobody waits any more if the device was lost.
            let _ = done.send(result.map(|bytes| bytemuck::pod_collect_to_vec::<u8, T>(&bytes)));
        });
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|error| Trouble::device(&error))?;
        self.check()?;
        wait.recv().map_err(|error| Trouble::device(&error))?.map_err(|error| Trouble::device(&error))
    }

    pub(crate) fn buffer(&self, label: &'static str, size: u64) -> wgpu::Buffer {
        use wgpu::BufferUsages;
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }
}

fn note(fault: &Mutex<Option<String>>, said: String) {
    fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(said);
}
