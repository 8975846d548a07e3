//! wgpu reports mistakes and exhaustion to error scopes; without one, a mistake panics the process.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use wgpu::{Device, Error, ErrorFilter, ErrorScopeGuard, PollType};

/// The three error scopes, open. They belong to this thread: close them before any await.
pub(crate) struct Scopes {
    internal: ErrorScopeGuard,
    memory: ErrorScopeGuard,
    validation: ErrorScopeGuard,
}

impl Scopes {
    pub(crate) fn open(device: &Device) -> Self {
        let internal = device.push_error_scope(ErrorFilter::Internal);
        let memory = device.push_error_scope(ErrorFilter::OutOfMemory);
        let validation = device.push_error_scope(ErrorFilter::Validation);
        Self { internal, memory, validation }
    }

    /// Closes them in reverse; what comes back tells, once awaited, what they caught.
    pub(crate) fn close(self) -> impl Future<Output = Option<Error>> + use<> {
        let (validation, memory, internal) = (self.validation.pop(), self.memory.pop(), self.internal.pop());
        async move {
            let validation = validation.await;
            let memory = memory.await;
            let internal = internal.await;
            // Running out of memory makes what follows invalid too: it is the cause.
            memory.or(validation).or(internal)
        }
    }
}

/// Whether the device is gone: then not even the smallest buffer can be made. wgpu tells the device's owner by callback
/// and nobody else.
pub(crate) fn is_lost(device: &Device) -> bool {
    let scopes = Scopes::open(device);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("probe"),
        size: 4,
        usage: wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: true,
    });
    let lost = buffer.get_mapped_range_mut(..).is_err();
    // What the probe's failure says is no news.
    drop(scopes.close());
    lost
}

/// Waits for all that was submitted to the device, and calls back whoever waits for it. On the web this does nothing: there
/// the browser calls back by itself.
pub(crate) fn wait(device: &Device) -> Result<(), String> {
    // Where the driver loses the device meanwhile, wgpu panics, with nothing of its own locked any more.
    match catch_unwind(AssertUnwindSafe(|| device.poll(PollType::wait_indefinitely()))) {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) if is_lost(device) => Err("wgpu gave up waiting for the device".to_owned()),
        // Someone else's callback.
        Err(panic) => resume_unwind(panic),
    }
}
