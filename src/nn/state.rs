//! State dicts: a layer's tensors under PyTorch's keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, View};

use super::Layer;
use super::nearest::nearest;
use super::options::LayerOptions;
use crate::element::Element;
use crate::error::{Error, StateError, StateProblem};
use crate::problem::count;
use crate::values::Values;

/// Tensors by key, as [`Layer::state_dict`] returns them. Combine those of several layers with [`extend`](Extend::extend), and
/// serialize them with [`safetensors::serialize`].
pub type StateDict = BTreeMap<String, StateTensor>;

/// One tensor of a state dict, on the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct StateTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl StateTensor {
    /// An f32 tensor of row-major `values`. `None` if `shape` does not have that many elements.
    #[must_use]
    pub fn f32(shape: &[usize], values: &[f32]) -> Option<Self> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let elements = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
        (elements == Some(values.len())).then(|| Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes })
    }

    /// A single number as PyTorch saves it: an i64 tensor without axes.
    #[must_use]
    pub fn number(number: i64) -> Self {
        Self { dtype: Dtype::I64, shape: Vec::new(), bytes: number.to_le_bytes().to_vec() }
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, converted to f32 from f32, f16, bf16 or f64. `None` for other types, or if an f64 is outside the range of
    /// f32.
    #[must_use]
    pub fn values(&self) -> Option<Vec<f32>> {
        floats(self.dtype, &self.bytes)?.ok()
    }
}

impl From<TensorView<'_>> for StateTensor {
    fn from(view: TensorView<'_>) -> Self {
        Self { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() }
    }
}

impl View for &StateTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// A source of tensors for [`Layer::load_state_dict`]: a [`StateDict`], or [`SafeTensors`] over the bytes of a file. Only the
/// tensors that the layer loads are copied. This trait is sealed.
pub trait StateSource: sealed::Source {}

impl<S: sealed::Source> StateSource for S {}

mod sealed {
    use super::{Dtype, SafeTensors, StateDict};

    /// A tensor's type, shape and bytes.
    pub(super) type Found<'a> = (Dtype, &'a [usize], &'a [u8]);

    pub trait Source {
        fn keys(&self) -> Vec<&str>;
        fn find(&self, key: &str, then: &mut dyn FnMut(Found<'_>)) -> bool;
    }

    impl Source for StateDict {
        fn keys(&self) -> Vec<&str> {
            self.keys().map(String::as_str).collect()
        }

        fn find(&self, key: &str, then: &mut dyn FnMut(Found<'_>)) -> bool {
            self.get(key).map(|tensor| then((tensor.dtype, &tensor.shape, &tensor.bytes))).is_some()
        }
    }

    impl Source for SafeTensors<'_> {
        fn keys(&self) -> Vec<&str> {
            self.names()
        }

        fn find(&self, key: &str, then: &mut dyn FnMut(Found<'_>)) -> bool {
            self.tensor(key).map(|view| then((view.dtype(), view.shape(), view.data()))).is_ok()
        }
    }
}

/// Whether a state dict must have exactly the keys of the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Strictness {
    /// It must; otherwise nothing is loaded. PyTorch's `strict=True`.
    #[default]
    Strict,
    /// Missing tensors stay unchanged, and unexpected ones are ignored. PyTorch's `strict=False`. A wrong shape is still an
    /// error.
    Lenient,
}

/// Keys that a load skipped, as PyTorch's `_IncompatibleKeys`, and values that it changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct IncompatibleKeys {
    /// Keys of the layer that are not in the state dict.
    pub missing: Vec<String>,
    /// Keys of the state dict that the layer does not have.
    pub unexpected: Vec<String>,
    /// Keys whose number of batches is outside of 0 to 4294967295, and was clamped to that range.
    pub clamped: Vec<String>,
}

/// A buffer of the layer, and how it is saved.
struct Entry<'a> {
    name: &'static str,
    buffer: &'a wgpu::Buffer,
    shape: Vec<usize>,
    element: Element,
    /// A number, not floats.
    counts: bool,
}

/// What goes into a buffer.
enum Loaded {
    /// Elements as they are stored, in whole words of four bytes.
    Bytes(Vec<u8>),
    /// Whether it was another before it fitted, too.
    Count(u32, bool),
}

/// What a state dict has for a layer, which it fits.
struct Fitting<'a> {
    loaded: Vec<(&'a wgpu::Buffer, Loaded)>,
    incompatible: IncompatibleKeys,
}

impl<K: LayerOptions> Layer<K> {
    /// Reads the state of the layer back: `weight`, `bias`, `running_mean`, `running_var` and `num_batches_tracked`, as far as
    /// it has them. Names and shapes are PyTorch's, and types those that the layer stores. Each key starts with `prefix`, which ends with a dot or is empty.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use wgpu_norm::nn::{BatchNormLayer, BatchNormOptions, LayerNormLayer, LayerNormOptions, Strictness};
    /// use wgpu_norm::{Gpu, safetensors};
    ///
    /// let gpu = Gpu::new_blocking()?;
    /// let norm = BatchNormLayer::new_blocking(&gpu, BatchNormOptions::new(4))?;
    /// let head = LayerNormLayer::new_blocking(&gpu, LayerNormOptions::new(&[8]))?;
    /// let mut state = norm.state_dict_blocking("norm.")?;
    /// state.extend(head.state_dict_blocking("head.")?);
    /// assert!(state.keys().eq([
    ///     "head.bias", "head.weight",
    ///     "norm.bias", "norm.num_batches_tracked", "norm.running_mean", "norm.running_var", "norm.weight",
    /// ]));
    /// let bytes = safetensors::serialize(&state, None)?; // std::fs::write("model.safetensors", bytes)?
    ///
    /// let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    /// norm.load_state_dict_blocking(&tensors, "norm.", Strictness::Strict)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the device is out of memory or lost.
    pub async fn state_dict(&self, prefix: &str) -> Result<StateDict, Error> {
        let entries = self.entries();
        let sources: Vec<_> = entries.iter().map(|entry| (entry.name, entry.buffer)).collect();
        let readbacks = self.gpu.send(|_| {}, &sources).await?;
        let mut tensors = StateDict::new();
        for (entry, readback) in entries.into_iter().zip(readbacks) {
            let key = format!("{prefix}{}", entry.name);
            tensors.insert(key, self.gpu.fetch(readback, |bytes| entry.saved(bytes)).await?);
        }
        Ok(tensors)
    }

    /// [`Layer::state_dict`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::state_dict`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn state_dict_blocking(&self, prefix: &str) -> Result<StateDict, Error> {
        pollster::block_on(self.state_dict(prefix))
    }

    /// Loads the state of the layer from the keys that start with `prefix`, which ends with a dot or is empty. All work that is
    /// submitted later uses it. Tensors of f32, f16, bf16 and f64 become what the layer stores, each number the nearest; one that is beyond
    /// the range of that type is an error.
    ///
    /// `num_batches_tracked` is treated as in PyTorch. If it is missing, as in old checkpoints, the layer keeps its own. It may
    /// have any numeric type, and the shape `[]` or `[n]`, whose first element counts. Fractions are truncated. A number that
    /// is no `u32` is clamped, and listed in [`IncompatibleKeys::clamped`].
    ///
    /// # Errors
    ///
    /// [`Error::State`] with all problems if the state dict does not fit; nothing is loaded then. [`Error::Run`] if the device
    /// is lost.
    pub async fn load_state_dict(
        &self,
        tensors: &impl StateSource,
        prefix: &str,
        strictness: Strictness,
    ) -> Result<IncompatibleKeys, Error> {
        let Fitting { loaded, incompatible } = self.fitting(tensors, prefix, strictness)?;
        let write = |_: &mut wgpu::CommandEncoder| {
            for (buffer, values) in &loaded {
                match values {
                    Loaded::Bytes(bytes) => self.gpu.queue().write_buffer(buffer, 0, bytes),
                    Loaded::Count(count, _) => self.gpu.queue().write_buffer(buffer, 0, bytemuck::bytes_of(count)),
                }
            }
        };
        self.gpu.submit(write, &[]).await?;
        Ok(incompatible)
    }

    /// [`Layer::load_state_dict`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Layer::load_state_dict`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load_state_dict_blocking(
        &self,
        tensors: &impl StateSource,
        prefix: &str,
        strictness: Strictness,
    ) -> Result<IncompatibleKeys, Error> {
        pollster::block_on(self.load_state_dict(tensors, prefix, strictness))
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let named = [
            ("weight", self.weight()),
            ("bias", self.bias()),
            ("running_mean", self.running_mean()),
            ("running_var", self.running_var()),
            ("num_batches_tracked", self.num_batches_tracked()),
        ];
        let entry = |(name, buffer): (&'static str, Option<_>)| {
            let counts = name == "num_batches_tracked";
            let shape = if counts { Vec::new() } else { self.options.parameter_shape() };
            let parameter = matches!(name, "weight" | "bias");
            let element = if parameter { self.options.storage().of_parameters() } else { Element::F32 };
            Some(Entry { name, buffer: buffer?, shape, element, counts })
        };
        named.into_iter().filter_map(entry).collect()
    }

    /// What to write where, or everything that is wrong.
    fn fitting(
        &self,
        tensors: &impl StateSource,
        prefix: &str,
        strictness: Strictness,
    ) -> Result<Fitting<'_>, StateError> {
        let (mut loaded, mut problems, mut incompatible) = (Vec::new(), Vec::new(), IncompatibleKeys::default());
        let entries = self.entries();
        for entry in &entries {
            let key = format!("{prefix}{}", entry.name);
            let mut result = None;
            let found = tensors.find(&key, &mut |(dtype, shape, bytes)| {
                // PyTorch takes a tensor with one axis for a number, as it saved them before 0.4.
                let fits = shape == entry.shape || entry.counts && matches!(shape, [length] if *length > 0);
                result = Some(if fits {
                    entry.read(&key, dtype, bytes)
                } else {
                    let (shape, must) = (shape.to_vec(), entry.shape.clone());
                    Err(StateProblem::Shape { key: key.clone(), shape, must })
                });
            });
            match result {
                Some(Ok(values)) => {
                    if let Loaded::Count(_, true) = values {
                        incompatible.clamped.push(key);
                    }
                    loaded.push((entry.buffer, values));
                }
                Some(Err(problem)) => problems.push(problem),
                None if !found && !entry.counts => incompatible.missing.push(key),
                None => {}
            }
        }
        let (refused, why) = self.options.refused_keys().unwrap_or_default();
        for key in tensors.keys() {
            let Some(name) = key.strip_prefix(prefix) else { continue };
            let key = key.to_owned();
            if refused.contains(&name) {
                problems.push(StateProblem::Refused { key, why });
            } else if !entries.iter().any(|entry| entry.name == name) {
                incompatible.unexpected.push(key);
            }
        }
        incompatible.unexpected.sort();
        if strictness == Strictness::Strict {
            let missing = incompatible.missing.iter().map(|key| StateProblem::Missing { key: key.clone() });
            let unexpected = incompatible.unexpected.iter().map(|key| StateProblem::Unexpected { key: key.clone() });
            problems = missing.chain(unexpected).chain(problems).collect();
        }
        if !problems.is_empty() {
            let hint = hint(prefix, &tensors.keys(), &entries, &incompatible.missing);
            return Err(StateError { layer: self.options.name(), problems, hint });
        }
        Ok(Fitting { loaded, incompatible })
    }
}

impl Entry<'_> {
    /// A tensor of what is in the buffer.
    fn saved(&self, bytes: &[u8]) -> StateTensor {
        if self.counts {
            return StateTensor::number(number(Dtype::U32, bytes).map_or(0, |count| count as i64));
        }
        let dtype = match self.element {
            Element::F32 => Dtype::F32,
            Element::F16 => Dtype::F16,
            Element::Bf16 => Dtype::BF16,
        };
        let length = (count(&self.shape) * self.element.size()) as usize;
        StateTensor { dtype, shape: self.shape.clone(), bytes: bytes[..length.min(bytes.len())].to_vec() }
    }

    fn read(&self, key: &str, dtype: Dtype, bytes: &[u8]) -> Result<Loaded, StateProblem> {
        let key = || key.to_owned();
        if self.counts {
            let must = "a number";
            let wrong = || StateProblem::Type { key: key(), dtype: dtype.to_string(), must };
            let number = number(dtype, bytes).ok_or_else(wrong)?;
            let fitting = number.clamp(0, u32::MAX.into()) as u32;
            return Ok(Loaded::Count(fitting, i128::from(fitting) != number));
        }
        let must = "F32, F16, BF16 or F64";
        let wrong = || StateProblem::Type { key: key(), dtype: dtype.to_string(), must };
        let beyond = |value: f64, must| StateProblem::Value { key: key(), value: format!("{value:e}"), must };
        let values = floats(dtype, bytes).ok_or_else(wrong)?.map_err(|value| beyond(value, "in the range of f32"))?;
        let must = match self.element {
            Element::F32 => "in the range of f32",
            Element::F16 => "in the range of f16, as which the layer stores it",
            Element::Bf16 => "in the range of bf16, as which the layer stores it",
        };
        match values.iter().find(|value| value.is_finite() && !self.element.rounded(**value).is_finite()) {
            Some(&value) => Err(beyond(value.into(), must)),
            None => {
                let mut bytes = Values::new(&values).stored_as(self.element).values().bytes.to_vec();
                bytes.resize(bytes.len().next_multiple_of(4), 0);
                Ok(Loaded::Bytes(bytes))
            }
        }
    }
}

/// The values in f32, or the first that is beyond it. None of a type that holds no such numbers.
fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Result<Vec<f32>, f64>> {
    fn each<const N: usize, T>(bytes: &[u8], value: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
        bytes.chunks_exact(N).filter_map(|chunk| chunk.try_into().ok()).map(value)
    }
    let narrowed = |value: f64| {
        let narrow = value as f32;
        if narrow.is_infinite() && value.is_finite() { Err(value) } else { Ok(narrow) }
    };
    Some(match dtype {
        Dtype::F32 => Ok(each(bytes, f32::from_le_bytes).collect()),
        Dtype::F16 => Ok(each(bytes, |two| f16::from_le_bytes(two).to_f32()).collect()),
        Dtype::BF16 => Ok(each(bytes, |two| bf16::from_le_bytes(two).to_f32()).collect()),
        Dtype::F64 => each(bytes, f64::from_le_bytes).map(narrowed).collect(),
        _ => return None,
    })
}

/// The first element, cut off to an integer as PyTorch's cast does. None of a type that holds no numbers.
fn number(dtype: Dtype, bytes: &[u8]) -> Option<i128> {
    fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
        bytes.first_chunk().copied()
    }
    Some(match dtype {
        Dtype::I64 => i64::from_le_bytes(first(bytes)?).into(),
        Dtype::U64 => u64::from_le_bytes(first(bytes)?).into(),
        Dtype::I32 => i32::from_le_bytes(first(bytes)?).into(),
        Dtype::U32 => u32::from_le_bytes(first(bytes)?).into(),
        Dtype::I16 => i16::from_le_bytes(first(bytes)?).into(),
        Dtype::U16 => u16::from_le_bytes(first(bytes)?).into(),
        Dtype::I8 => i8::from_le_bytes(first(bytes)?).into(),
        Dtype::U8 | Dtype::BOOL => u8::from_le_bytes(first(bytes)?).into(),
        Dtype::F64 => f64::from_le_bytes(first(bytes)?) as i128,
        Dtype::F32 => f32::from_le_bytes(first(bytes)?) as i128,
        Dtype::F16 => f16::from_le_bytes(first(bytes)?).to_f32() as i128,
        Dtype::BF16 => bf16::from_le_bytes(first(bytes)?).to_f32() as i128,
        _ => return None,
    })
}

/// What a layer's tensors were called before, or are elsewhere.
const OTHER_NAMES: [(&str, &str); 4] =
    [("gamma", "weight"), ("beta", "bias"), ("moving_mean", "running_mean"), ("moving_variance", "running_var")];

/// What would help where keys are missing.
fn hint(prefix: &str, keys: &[&str], entries: &[Entry<'_>], missing: &[String]) -> Option<String> {
    let has = |key: String| keys.contains(&key.as_str()).then_some(key);
    if !(prefix.is_empty() || prefix.ends_with('.'))
        && let Some(key) = entries.iter().find_map(|entry| has(format!("{prefix}.{}", entry.name)))
    {
        return Some(format!("there is {key}: let the prefix be {prefix:?} with a dot at its end"));
    }
    let renamed = OTHER_NAMES.iter().filter_map(|(other, name)| {
        let (other, key) = (has(format!("{prefix}{other}"))?, format!("{prefix}{name}"));
        missing.contains(&key).then(|| format!("{other} to {key}"))
    });
    let renamed: Vec<_> = renamed.collect();
    if !renamed.is_empty() {
        return Some(format!("of an older version or another library? rename {}", renamed.join(", ")));
    }
    // Of a layer with nothing at all, the prefix is another.
    let asked =
        missing.first().filter(|_| entries.iter().all(|entry| has(format!("{prefix}{}", entry.name)).is_none()))?;
    let near = nearest(asked, keys.iter().copied(), 3);
    (!near.is_empty()).then(|| format!("the nearest keys to {asked} are {}", near.join(", ")))
}
