//! Errors, by stage: specifying and planning, binding, running.

use std::fmt;

use crate::element::Element;
use crate::epilogue::Activation;
use crate::modulation::Modulation;

/// A specification is invalid, or cannot run with the capabilities of the device.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The input has no axes.
    #[error("{norm}: shape is [], a scalar, but must have at least one axis")]
    ScalarInput {
        /// The norm.
        norm: &'static str,
    },
    /// `normalized_shape` is empty.
    #[error("{norm}: normalized_shape is [] but must name at least the last axis of shape {}", Dims(.shape))]
    EmptyNormalizedShape {
        /// The norm.
        norm: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// `normalized_shape` does not match the last axes of the input.
    #[error(
        "{norm}: normalized_shape is {} but must be the last axes of shape {}",
        Dims(.normalized_shape),
        Dims(.shape)
    )]
    NormalizedShape {
        /// The norm.
        norm: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What was given.
        normalized_shape: Vec<usize>,
    },
    /// Tensors have a type that they cannot have beside that of `x`.
    #[error("{norm}: {tensors} stored as {is}, but must be f32{}", Or(*.x))]
    Storage {
        /// The norm.
        norm: &'static str,
        /// Which tensors.
        tensors: &'static str,
        /// Their type.
        is: Element,
        /// The type of `x`.
        x: Element,
    },
    /// Weights of heads that the shape does not have.
    #[error("{norm}: {}, but must be {must}, for shape {}", OfHeads(.segments), Dims(.shape))]
    Heads {
        /// The norm.
        norm: &'static str,
        /// What was given; none where each head was to have its own.
        segments: Option<Vec<(usize, f32)>>,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What they must be.
        must: &'static str,
    },
    /// Gradients of a gate or an embedding that there cannot be.
    #[error("{norm}: gradients of a gate or an embedding are wanted, but must be {must}")]
    Gate {
        /// The norm.
        norm: &'static str,
        /// What they must be.
        must: &'static str,
    },
    /// Strides do not say where the elements of a tensor lie, or say what no kernel can go by.
    #[error("{norm}: strides of {tensor} are {}, but must be {must}, for shape {}", Dims(.strides), Dims(.shape))]
    Strides {
        /// The norm.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// What was given.
        strides: Vec<usize>,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What they must be.
        must: &'static str,
    },
    /// A rounding before the weight has no place.
    #[error("{norm}: rounding is before the weight, but must be {must}")]
    Rounding {
        /// The norm.
        norm: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// A second activation is to follow.
    #[error("{norm}: {second} follows {first}, but a norm has one activation at most")]
    Activations {
        /// The norm.
        norm: &'static str,
        /// The activation that it has.
        first: Activation,
        /// The one that was added.
        second: Activation,
    },
    /// Scale and shift do not fit the input.
    #[error("{norm}: modulation by {given} must be {must}, for x of shape {}", Dims(.shape))]
    Modulation {
        /// The norm.
        norm: &'static str,
        /// What was given.
        given: Modulation,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What it must be.
        must: &'static str,
    },
    /// A second modulation or skip is to follow.
    #[error("{norm}: a second {what} follows, but a norm has one at most")]
    Twice {
        /// The norm.
        norm: &'static str,
        /// What.
        what: &'static str,
    },
    /// The channel axis is not an axis of the input.
    #[error("{norm}: channel_axis is {channel_axis} but must be in -{rank} to {last} for shape {}", Dims(.shape), rank = .shape.len(), last = .shape.len().saturating_sub(1))]
    ChannelAxis {
        /// The norm.
        norm: &'static str,
        /// What was given.
        channel_axis: isize,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The axes to reduce are empty, name an axis twice, or name one that the input does not have.
    #[error("{norm}: axes is {axes:?} but must name one or more different axes from -{rank} to {last} of shape {}", Dims(.shape), rank = .shape.len(), last = .shape.len().saturating_sub(1))]
    Axes {
        /// The norm.
        norm: &'static str,
        /// What was given.
        axes: Vec<isize>,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The reduced axes alternate with the kept ones too often to form one [`Block`](crate::Block).
    #[error(
        "{norm}: axes is {axes:?}, but in shape {} these alternate with the others more often than kept, reduced, kept, \
         reduced, which is the most that runs without a transpose",
        Dims(.shape)
    )]
    AlternatingAxes {
        /// The norm.
        norm: &'static str,
        /// What was given.
        axes: Vec<isize>,
        /// The shape of the input.
        shape: Vec<usize>,
    },
    /// The channels cannot be split into that many groups.
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
        /// The norm.
        norm: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// What was given.
        value: f32,
        /// What it must be.
        must: &'static str,
    },
    /// The shape has more elements than shaders can address.
    #[error("{norm}: shape {} has more than {limit} elements, the most a tensor can have here", Dims(.shape))]
    TooManyElements {
        /// The norm.
        norm: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
        /// The most elements a tensor can have.
        limit: u64,
    },
    /// The norm has no backward pass.
    #[error("{norm}: it has no backward pass here; layer, RMS, group, instance and batch norm have one")]
    NoBackward {
        /// The norm.
        norm: &'static str,
    },
    /// No gradient was requested.
    #[error("{norm}: no gradient is asked for, but at least one of x, weight and bias must be")]
    NoGradients {
        /// The norm.
        norm: &'static str,
    },
    /// Saved statistics were requested in eval mode, which saves none.
    #[error("{norm}: saved_statistics was asked for, but in eval mode the running statistics are the statistics")]
    SavedRunning {
        /// The norm.
        norm: &'static str,
    },
    /// A plan for parts of a batch was requested in eval mode, which computes no statistics.
    #[error("{norm}: in eval mode there are no statistics of the batch to be merged")]
    RunningMoments {
        /// The norm.
        norm: &'static str,
    },
    /// The number of parts is 0 or too large.
    #[error(
        "{norm}: parts is {parts} but must be at least 1, and such that all statistics together have at most {limit} numbers"
    )]
    Parts {
        /// The norm.
        norm: &'static str,
        /// What was given.
        parts: usize,
        /// The most numbers.
        limit: u64,
    },
    /// A limit of the device is too low for this tensor.
    #[error("{norm}: {what} needs {needs} {unit}, but this device's {limit} is {has}")]
    Limit {
        /// The norm.
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

/// The tensors given do not fit the plan, or the device could not bind them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A required tensor is missing.
    #[error("{norm}: {tensor} is missing: {why}")]
    Missing {
        /// The norm of the plan.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// Why it is required.
        why: &'static str,
    },
    /// A tensor was given that the plan does not take, or strides where arrays have their own.
    #[error("{norm}: {tensor} was given, but {why}")]
    Unexpected {
        /// The norm of the plan.
        norm: &'static str,
        /// The tensor, or the option.
        tensor: &'static str,
        /// Why the plan does not take it.
        why: &'static str,
    },
    /// A tensor was given twice.
    #[error("{norm}: {tensor} was given twice, by itself or in place of another, and must be given once")]
    Twice {
        /// The norm of the plan.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
    },
    /// A tensor that the plan writes was given to be read.
    #[error("{norm}: {tensor} is written, so it must be given as a mutable slice")]
    ReadOnly {
        /// The norm of the plan.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
    },
    /// A tensor extends past the end of its buffer.
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
    /// The offset of a tensor is not sufficiently aligned.
    #[error("{tensor}: its offset is {offset} bytes but must be a multiple of {alignment}")]
    Alignment {
        /// The tensor.
        tensor: &'static str,
        /// Where it starts, in bytes.
        offset: u64,
        /// What the offset must be a multiple of.
        alignment: u64,
    },
    /// A tensor was given, or is wanted, as numbers of another type than the norm stores it as.
    #[error("{tensor}: its elements are {is} here, but the norm stores them as {must}")]
    Element {
        /// The tensor.
        tensor: &'static str,
        /// Its type.
        is: Element,
        /// The type that it must have.
        must: Element,
    },
    /// Two results of 16-bit elements share their words of four bytes with others in different ways.
    #[error(
        "{tensor}: its offset is {offset} bytes and that of {other} {other_offset}, but both must be multiples of 4, or neither"
    )]
    Halves {
        /// The tensor.
        tensor: &'static str,
        /// Where it starts, in bytes.
        offset: u64,
        /// The other.
        other: &'static str,
        /// Where that starts.
        other_offset: u64,
    },
    /// Strides by which results of 16 bits share words in different ways.
    #[error(transparent)]
    Strides(SpecError),
    /// A buffer lacks the usage `STORAGE`.
    #[error("{tensor}: its buffer has usage {usage:?} but must have STORAGE")]
    Usage {
        /// The tensor.
        tensor: &'static str,
        /// What the buffer was made with.
        usage: wgpu::BufferUsages,
    },
    /// A tensor that is written overlaps another.
    #[error(
        "{written} is written and overlaps {other} in the same buffer, but they must be apart{}",
        if *.may_coincide { " or exactly the same" } else { "" }
    )]
    Overlap {
        /// The tensor that is written.
        written: &'static str,
        /// The tensor it overlaps.
        other: &'static str,
        /// Whether these two may start at exactly the same place.
        may_coincide: bool,
    },
    /// The operands are for another kind of pass.
    #[error("{norm}: the plan is for {plan}, so its operands must start from {must}, but these start from {start}")]
    Direction {
        /// The norm of the plan.
        norm: &'static str,
        /// What the plan is for.
        plan: &'static str,
        /// The constructor that its operands must come from.
        must: &'static str,
        /// The constructor that these come from.
        start: &'static str,
    },
    /// An array has the wrong shape.
    #[error("{tensor}: its shape is {} but must be {}", Dims(.shape), Dims(.must))]
    Shape {
        /// The tensor.
        tensor: &'static str,
        /// What was given.
        shape: Vec<usize>,
        /// What it must be.
        must: Vec<usize>,
    },
    /// A slice has the wrong length.
    #[error("{tensor}: it has {length} elements but must have {must}, those of shape {}{}", Dims(.shape), between(.shape, *.must))]
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
    /// A tensor, counted from the aligned offset before it, exceeds the largest binding.
    #[error("{tensor}: its binding needs {needs} bytes, but this device's max_storage_buffer_binding_size is {has}")]
    BindingSize {
        /// The tensor.
        tensor: &'static str,
        /// The bytes to bind.
        needs: u64,
        /// What the device was made with.
        has: u64,
    },
    /// The plan was made by a context with other capabilities.
    #[error("{norm}: the plan was made by a context with other capabilities; make it by the one that binds it")]
    ForeignPlan {
        /// The norm of the plan.
        norm: &'static str,
    },
    /// Some tensors do not start at multiples of 16 bytes, and the plan for such tensors exceeds a limit of the device.
    #[error("as these tensors do not start at multiples of 16 bytes: {0}")]
    Limit(SpecError),
    /// A pass binds more storage buffers than the device allows.
    #[error(
        "{norm}: pass {pass} needs {needs} storage buffers, but this device's max_storage_buffers_per_shader_stage is {has}; bind \
         fewer tensors, or some as views of one buffer, or make a device with more"
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
    /// wgpu refused to bind. Either a buffer was destroyed, or it belongs to another device of the same instance, or the
    /// context was given capabilities that the device does not have. Any other cause is a bug in this library or the driver.
    #[error("wgpu refused to bind: {description}")]
    Device {
        /// What wgpu said.
        description: String,
    },
}

/// Opening an adapter, moving data or waiting for the GPU failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// No adapter can be used.
    #[error("no GPU adapter can be used: {why}")]
    NoAdapter {
        /// Why there is none.
        why: String,
    },
    /// No adapter has the requested name.
    #[error(
        "no adapter's name contains {name:?}{}; there are: {}",
        if *.by_environment { ", which is WGPU_ADAPTER_NAME" } else { "" },
        .there.join("; ")
    )]
    NoSuchAdapter {
        /// The requested name, or part of a name.
        name: String,
        /// Whether it comes from the environment rather than from the caller.
        by_environment: bool,
        /// The adapters found, as [`Gpu::describe`](crate::Gpu::describe) prints them.
        there: Vec<String>,
    },
    /// The adapter provided no device.
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
    /// The queue or context given to a [`Gpu`](crate::Gpu) belongs to another device.
    #[error(
        "the queue is another device's: Gpu::from_device takes the queue that came with the device, Gpu::with_context a \
         context on the same device"
    )]
    ForeignQueue,
    /// wgpu refused the commands. This is a bug in this library or the driver.
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

/// The options of a [layer](crate::nn) are invalid, or it cannot be used as requested.
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
    /// The layer does not accept the shape of the input.
    #[error("{layer}: the shape of x is {} but must {must}", Dims(.shape))]
    Input {
        /// The layer.
        layer: &'static str,
        /// The shape of the input.
        shape: Vec<usize>,
        /// What it must be like.
        must: String,
    },
    /// The forward pass was recorded by another layer or, for a bound backward pass, by another
    /// [`BoundForward`](crate::nn::BoundForward).
    #[error(
        "{layer}: the forward pass is not one of those that this backward pass is for; each layer goes back along its own"
    )]
    Foreign {
        /// The layer.
        layer: &'static str,
    },
    /// The forward pass ran in place, so `x` is no longer there for the backward pass.
    #[error("{layer}: the forward pass wrote y over x, which the backward pass needs; use another buffer for y")]
    Overwritten {
        /// The layer.
        layer: &'static str,
    },
    /// The forward pass was dropped before it was submitted, so the statistics that it should have saved are missing.
    #[error(
        "{layer}: the forward pass was dropped before it was submitted, so the statistics of the backward pass are missing"
    )]
    NotSubmitted {
        /// The layer.
        layer: &'static str,
    },
    /// The operation needs running statistics, and the layer keeps none.
    #[error("{layer}: it keeps no running statistics, without which nothing can be folded")]
    Untracked {
        /// The layer.
        layer: &'static str,
    },
    /// The layer to fold into has another number of output channels than this one.
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

/// A state dict that does not fit its layer, with all problems found.
#[cfg(feature = "safetensors")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StateError {
    /// The layer.
    pub layer: &'static str,
    /// Every problem, by key.
    pub problems: Vec<StateProblem>,
    /// A suggestion, if there is one.
    pub hint: Option<String>,
}

/// A problem with one key of a state dict.
#[cfg(feature = "safetensors")]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateProblem {
    /// The layer has this key, but the state dict does not.
    #[error("{key} is missing")]
    Missing {
        /// The key, with its prefix.
        key: String,
    },
    /// The state dict has this key, but the layer does not.
    #[error("{key} is unexpected")]
    Unexpected {
        /// The key, with its prefix.
        key: String,
    },
    /// The key shows that the saved layer was another kind, so ignoring it would be wrong as well.
    #[error("{key} is refused: {why}")]
    Refused {
        /// The key, with its prefix.
        key: String,
        /// Why the layer refuses it.
        why: &'static str,
    },
    /// The tensor has the wrong shape.
    #[error("{key}: its shape is {} but must be {}", Dims(.shape), Dims(.must))]
    Shape {
        /// The key, with its prefix.
        key: String,
        /// What was given.
        shape: Vec<usize>,
        /// What it must be.
        must: Vec<usize>,
    },
    /// The tensor has a type that cannot be converted.
    #[error("{key}: its type is {dtype} but must be {must}")]
    Type {
        /// The key, with its prefix.
        key: String,
        /// What was given, as safetensors calls it.
        dtype: String,
        /// What it must be.
        must: &'static str,
    },
    /// A value is outside the range that the layer can hold.
    #[error("{key}: it has {value}, but must be {must}")]
    Value {
        /// The key, with its prefix.
        key: String,
        /// What was given.
        value: String,
        /// What it must be.
        must: &'static str,
    },
}

#[cfg(feature = "safetensors")]
impl std::error::Error for StateError {}

#[cfg(feature = "safetensors")]
impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the state dict does not fit", self.layer)?;
        for (number, problem) in self.problems.iter().enumerate() {
            write!(f, "{} {problem}", if number == 0 { ":" } else { ";" })?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Any error of this library.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A specification is invalid or cannot run on the device.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The tensors given do not fit, or could not be bound.
    #[error(transparent)]
    Bind(BindError),
    /// Opening an adapter, moving data or waiting for the GPU failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A layer could not be made or used.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A state dict does not fit the layer.
    #[cfg(feature = "safetensors")]
    #[error(transparent)]
    State(#[from] StateError),
}

/// A lost device is always reported as [`RunError::DeviceLost`].
impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        match error {
            BindError::DeviceLost { description } => RunError::DeviceLost { description }.into(),
            error => Self::Bind(error),
        }
    }
}

/// The type of `x`, if it is another than f32.
struct Or(Element);

impl fmt::Display for Or {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Element::F32 => f.write_str(", as x is"),
            short => write!(f, ", or {short} as x is"),
        }
    }
}

/// Where strides leave gaps.
fn between(shape: &[usize], must: u64) -> &'static str {
    if crate::problem::count(shape) == must { "" } else { " and, by its strides, what lies between" }
}

/// Which heads were to share weights.
struct OfHeads<'a>(&'a Option<Vec<(usize, f32)>>);

impl fmt::Display for OfHeads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(segments) => write!(f, "segments of heads are {segments:?}, with their eps"),
            None => f.write_str("weight and bias are per_head"),
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
