//! Every way a call can fail, by stage.

use std::fmt;

/// What was asked for makes no sense, or cannot run with these capabilities.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The input has no axes.
    #[error("{norm}: shape is [], a scalar, but must have at least one axis")]
    ScalarInput {
        /// The norm that was asked for.
        norm: &'static str,
    },
    /// `normalized_shape` names no axis.
    #[error("{norm}: normalized_shape is [] but must name at least the last axis of shape {}", Dims(.shape))]
    EmptyNormalizedShape {
        /// The norm that was asked for.
        norm: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// `normalized_shape` is not how the input's shape ends.
    #[error(
        "{norm}: normalized_shape is {} but must be the last axes of shape {}",
        Dims(.normalized_shape),
        Dims(.shape)
    )]
    NormalizedShape {
        /// The norm that was asked for.
        norm: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What was given.
        normalized_shape: Vec<usize>,
    },
    /// The channel axis is not an axis of the input.
    #[error("{norm}: channel_axis is {channel_axis} but must be in -{rank} to {last} for shape {}", Dims(.shape), rank = .shape.len(), last = .shape.len().saturating_sub(1))]
    ChannelAxis {
        /// The norm that was asked for.
        norm: &'static str,
        /// What was given.
        channel_axis: isize,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The axes to reduce are not axes of the input, or name one twice, or none.
    #[error("{norm}: axes is {axes:?} but must name one or more different axes from -{rank} to {last} of shape {}", Dims(.shape), rank = .shape.len(), last = .shape.len().saturating_sub(1))]
    Axes {
        /// The norm that was asked for.
        norm: &'static str,
        /// What was given.
        axes: Vec<isize>,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The reduced axes alternate with the kept ones too often to be one block.
    #[error(
        "{norm}: axes is {axes:?}, but in shape {} these alternate with the others more often than kept, reduced, kept, \
         reduced, which is the most that runs without a transpose",
        Dims(.shape)
    )]
    AlternatingAxes {
        /// The norm that was asked for.
        norm: &'static str,
        /// What was given.
        axes: Vec<isize>,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The channels cannot be split in that many groups.
    #[error(
        "GroupNorm: num_groups is {num_groups} but must be at least 1 and divide the {channels} channels (axis {axis} of shape {})",
        Dims(.shape)
    )]
    NumGroups {
        /// What was given.
        num_groups: usize,
        /// The length of the channel axis.
        channels: usize,
        /// The channel axis, counted from the first.
        axis: usize,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// A numeric parameter is outside its range.
    #[error("{norm}: {parameter} is {value} but must be {must}")]
    Parameter {
        /// The norm that was asked for.
        norm: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// What was given.
        value: f32,
        /// What it must be.
        must: &'static str,
    },
    /// The shape has more elements than can be addressed.
    #[error("{norm}: shape {} has more than {limit} elements, the most a tensor can have here", Dims(.shape))]
    TooManyElements {
        /// The norm that was asked for.
        norm: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
        /// The most elements a tensor can have.
        limit: u64,
    },
    /// The norm has no backward pass.
    #[error("{norm}: it has no backward pass here; layer, RMS, group, instance and batch norm have one")]
    NoBackward {
        /// The norm that was asked for.
        norm: &'static str,
    },
    /// No gradient was asked for.
    #[error("{norm}: no gradient is asked for, but at least one of x, weight and bias must be")]
    NoGradients {
        /// The norm that was asked for.
        norm: &'static str,
    },
    /// Statistics of the forward pass where there are none.
    #[error("{norm}: saved_statistics was asked for, but in eval mode the running statistics are the statistics")]
    SavedRunning {
        /// The norm that was asked for.
        norm: &'static str,
    },
    /// Statistics of a batch that eval mode does not take.
    #[error("{norm}: in eval mode there are no statistics of the batch to be merged")]
    RunningMoments {
        /// The norm that was asked for.
        norm: &'static str,
    },
    /// Statistics of no part, or of too many.
    #[error(
        "{norm}: parts is {parts} but must be at least 1, and such that all statistics together have at most {limit} numbers"
    )]
    Parts {
        /// The norm that was asked for.
        norm: &'static str,
        /// What was given.
        parts: usize,
        /// The most numbers.
        limit: u64,
    },
    /// A limit of the device is too low for this tensor.
    #[error("{norm}: {what} needs {needs} {unit}, but this device's {limit} is {has}")]
    Limit {
        /// The norm that was asked for.
        norm: &'static str,
        /// What needs it.
        what: &'static str,
        /// How much it needs.
        needs: u64,
        /// What the numbers count.
        unit: &'static str,
        /// The name of the limit, as in [`wgpu::Limits`].
        limit: &'static str,
        /// What the device was made with.
        has: u64,
    },
}

/// The tensors given to a plan do not fit it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A tensor the norm needs was not given.
    #[error("{norm}: {tensor} is missing: {why}")]
    Missing {
        /// The norm of the plan.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// When it is needed.
        why: &'static str,
    },
    /// A tensor was given that this norm does not take.
    #[error("{norm}: {tensor} was given, but {why}")]
    Unexpected {
        /// The norm of the plan.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// Why it has no place here.
        why: &'static str,
    },
    /// A tensor does not lie in its buffer.
    #[error("{tensor}: {needs} bytes from offset {offset} do not fit in its buffer of {size} bytes")]
    TooSmall {
        /// The tensor.
        tensor: &'static str,
        /// The bytes it takes.
        needs: u64,
        /// Where it starts, in bytes.
        offset: u64,
        /// The size of the buffer, in bytes.
        size: u64,
    },
    /// An offset is not a multiple of the element size.
    #[error("{tensor}: its offset is {offset} bytes but must be a multiple of {alignment}")]
    Alignment {
        /// The tensor.
        tensor: &'static str,
        /// Where it starts, in bytes.
        offset: u64,
        /// What the offset must be a multiple of.
        alignment: u64,
    },
    /// A buffer was made without a usage it needs.
    #[error("{tensor}: its buffer has usage {usage:?} but must have STORAGE")]
    Usage {
        /// The tensor.
        tensor: &'static str,
        /// What the buffer was made with.
        usage: wgpu::BufferUsages,
    },
    /// A tensor that is written shares bytes with another.
    #[error(
        "{written} is written and overlaps {other} in the same buffer, but they must be apart{}",
        if *.may_coincide { " or exactly the same" } else { "" }
    )]
    Overlap {
        /// The tensor that is written.
        written: &'static str,
        /// The tensor it overlaps.
        other: &'static str,
        /// Whether these two may be exactly the same place.
        may_coincide: bool,
    },
    /// The operands are those of another kind of pass.
    #[error("{norm}: the plan is for {plan}, so its operands must start from {must}, but these start from {start}")]
    Direction {
        /// The norm of the plan.
        norm: &'static str,
        /// What the plan is for.
        plan: &'static str,
        /// What its operands start from.
        must: &'static str,
        /// What these start from.
        start: &'static str,
    },
    /// A slice or array given for a tensor has another shape or length.
    #[error("{tensor}: its shape is {} but must be {}", Dims(.shape), Dims(.must))]
    Shape {
        /// The tensor.
        tensor: &'static str,
        /// What was given.
        shape: Vec<usize>,
        /// What it must be.
        must: Vec<usize>,
    },
    /// A slice given for a tensor has another length.
    #[error("{tensor}: it has {length} elements but must have {must}, those of shape {}", Dims(.shape))]
    Length {
        /// The tensor.
        tensor: &'static str,
        /// The elements given.
        length: usize,
        /// The elements it must have.
        must: u64,
        /// The shape they make up.
        shape: Vec<usize>,
    },
    /// A tensor, from the aligned offset before it, is more than one binding may hold.
    #[error("{tensor}: its binding needs {needs} bytes, but this device's max_storage_buffer_binding_size is {has}")]
    BindingSize {
        /// The tensor.
        tensor: &'static str,
        /// The bytes to bind.
        needs: u64,
        /// What the device was made with.
        has: u64,
    },
    /// The plan was made for other capabilities than this context's.
    #[error("{norm}: the plan was made by a context with other capabilities; make it by the one that binds it")]
    ForeignPlan {
        /// The norm of the plan.
        norm: &'static str,
    },
    /// The plan for tensors that do not start at multiples of 16 bytes needs more than the device has.
    #[error("as these tensors do not start at multiples of 16 bytes: {0}")]
    Limit(SpecError),
    /// A pass binds more than the device allows.
    #[error(
        "{norm}: pass {pass} needs {needs} storage buffers, but this device's max_storage_buffers_per_shader_stage is {has}"
    )]
    StorageBuffers {
        /// The norm of the plan.
        norm: &'static str,
        /// The pass.
        pass: &'static str,
        /// What it binds.
        needs: u32,
        /// What the device was made with.
        has: u32,
    },
    /// The device ran out of memory for pipelines, uniforms or scratch.
    #[error("the device is out of memory: {description}")]
    OutOfMemory {
        /// What wgpu said.
        description: String,
    },
    /// The device is gone.
    #[error("the device was lost: {description}")]
    DeviceLost {
        /// What wgpu said.
        description: String,
    },
    /// wgpu refused to bind: a buffer was destroyed or is another device's (of the same instance: wgpu cannot tell those of
    /// another), or the context was given capabilities that
    /// the device does not have. Anything else is a fault of this library or of the driver.
    #[error("wgpu refused to bind: {description}")]
    Device {
        /// What wgpu said.
        description: String,
    },
}

/// Finding an adapter, moving data or waiting for the GPU failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No adapter can be used.
    #[error("no GPU adapter can be used: {why}")]
    NoAdapter {
        /// What was looked for and found.
        why: String,
    },
    /// There are adapters, and none has the name that was asked for.
    #[error(
        "no adapter's name contains {name:?}{}; there are: {}",
        if *.by_environment { ", which is WGPU_ADAPTER_NAME" } else { "" },
        .there.join("; ")
    )]
    NoSuchAdapter {
        /// The name, or a part of one, that was asked for.
        name: String,
        /// Whether the environment asked for it, and not the caller.
        by_environment: bool,
        /// The adapters there are, as [`Gpu::describe`](crate::Gpu::describe) has them.
        there: Vec<String>,
    },
    /// The adapter gave no device.
    #[error("the adapter {adapter} gave no device: {description}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// What wgpu said.
        description: String,
    },
    /// A buffer could not be made.
    #[error("{tensor}: no buffer of {bytes} bytes on this device: {description}")]
    Buffer {
        /// The tensor it was for.
        tensor: &'static str,
        /// Its size.
        bytes: u64,
        /// What wgpu said.
        description: String,
    },
    /// The device is gone.
    #[error("the device was lost: {description}")]
    DeviceLost {
        /// What wgpu said.
        description: String,
    },
    /// The queue and the device of a [`Gpu`](crate::Gpu) do not belong together.
    #[error(
        "the queue is another device's: Gpu::from_device takes the queue that came with the device, Gpu::with_context a \
         context on the same device"
    )]
    ForeignQueue,
    /// wgpu refused the commands: a fault of this library, or of the driver.
    #[error("the commands could not be submitted: {description}")]
    Submit {
        /// What wgpu said.
        description: String,
    },
    /// A result could not be read back.
    #[error("{tensor}: could not be read back: {description}")]
    Readback {
        /// The tensor.
        tensor: &'static str,
        /// What wgpu said.
        description: String,
    },
}

/// A [layer](crate::nn) cannot be made of its options, or does not take what it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// An option is outside its range.
    #[error("{layer}: {option} is {value} but must be {must}")]
    Option {
        /// The layer.
        layer: &'static str,
        /// The option.
        option: &'static str,
        /// What was given.
        value: usize,
        /// What it must be.
        must: &'static str,
    },
    /// The input has another shape than the layer is for.
    #[error("{layer}: the shape of x is {} but must {must}", Dims(.shape))]
    Input {
        /// The layer.
        layer: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What it must be like.
        must: String,
    },
    /// A backward pass of a forward pass that another layer recorded, or, where it is bound, another
    /// [`BoundForward`](crate::nn::BoundForward).
    #[error(
        "{layer}: the forward pass is not one of those that this backward pass is for; each layer goes back along its own"
    )]
    Foreign {
        /// The layer.
        layer: &'static str,
    },
    /// A backward pass of a forward pass in place.
    #[error("{layer}: the forward pass wrote y over x, and there is no way back without x; let y be another buffer")]
    Overwritten {
        /// The layer.
        layer: &'static str,
    },
    /// A backward pass by statistics that a forward pass never came to save.
    #[error("{layer}: the forward pass was dropped before it was submitted, so there are no statistics to go back by")]
    NotSubmitted {
        /// The layer.
        layer: &'static str,
    },
    /// Something was asked of a layer that needs running statistics, and it keeps none.
    #[error("{layer}: it keeps no running statistics, without which nothing can be folded")]
    Untracked {
        /// The layer.
        layer: &'static str,
    },
    /// The weight of the layer to fold into does not end in the channels of this one.
    #[error("{layer}: the shape of weight is {} but must {must}", Dims(.shape))]
    Fold {
        /// The layer.
        layer: &'static str,
        /// The shape of the weight.
        shape: Vec<usize>,
        /// What it must be like.
        must: String,
    },
}

/// Any failure of this library.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// In what was asked for.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// In the tensors given.
    #[error(transparent)]
    Bind(BindError),
    /// In running it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// In a layer.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// In the state dict given to a layer.
    #[cfg(feature = "safetensors")]
    #[error(transparent)]
    State(#[from] crate::nn::StateError),
}

/// A device that is lost is told of alike, whatever was to be done with it.
impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        match error {
            BindError::DeviceLost { description } => RunError::DeviceLost { description }.into(),
            error => Self::Bind(error),
        }
    }
}

/// A shape as people write it: `[4096, 768]`.
pub(crate) struct Dims<'a>(pub(crate) &'a [usize]);

impl fmt::Display for Dims<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}
