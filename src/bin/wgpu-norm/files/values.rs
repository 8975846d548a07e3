//! The element types that are read, and their way to float32.

use std::cmp::Ordering;
use std::fmt::{Display, LowerExp};
use std::io::Read;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn, ShapeBuilder as _};

use super::Loaded;
use crate::progress::Progress;

/// How many values are converted at a time.
const CHUNK: usize = 1 << 18;

/// An element type of an input file.
trait Element: Copy + Display + LowerExp {
    fn to_f32(self) -> f32;
    /// Nothing if float64 has no such value.
    fn to_f64(self) -> Option<f64>;
}

macro_rules! elements {
    ($($type:ty)*) => {$(
        impl Element for $type {
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_f64(self) -> Option<f64> {
                Some(self as f64)
            }
        }
    )*};
}

elements!(f32 f64 i8 i16 i32 u8 u16 u32);

macro_rules! long_elements {
    ($($type:ty)*) => {$(
        impl Element for $type {
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_f64(self) -> Option<f64> {
                Some(self as f64).filter(|&wide| wide as i128 == i128::from(self))
            }
        }
    )*};
}

long_elements!(i64 u64);

macro_rules! half_elements {
    ($($type:ty)*) => {$(
        impl Element for $type {
            fn to_f32(self) -> f32 {
                self.into()
            }
            fn to_f64(self) -> Option<f64> {
                Some(self.into())
            }
        }
    )*};
}

half_elements!(f16 bf16);

/// The values of an array, as they lie in a file.
pub(super) struct Data<'a, R> {
    pub(super) reader: R,
    /// How many bytes there are.
    pub(super) length: u64,
    pub(super) shape: &'a [usize],
    /// Whether the first index runs fastest.
    pub(super) fortran: bool,
    pub(super) big_endian: bool,
    /// Whether the file's own values are kept where one is rounded.
    pub(super) exactly: bool,
    /// What they are to be stored as.
    pub(super) element: wgpu_norm::Element,
    pub(super) progress: Progress,
}

impl<R: Read> Data<'_, R> {
    /// Reads them all, by NumPy's name of their type.
    pub(super) fn read(self, dtype: &'static str) -> Result<Loaded, String> {
        match dtype {
            "float16" => self.of(dtype, f16::from_le_bytes),
            "bfloat16" => self.of(dtype, bf16::from_le_bytes),
            "float32" => self.of(dtype, f32::from_le_bytes),
            "float64" => self.of(dtype, f64::from_le_bytes),
            // As NumPy reads it, whatever else than 0 and 1 a byte is.
            "bool" => self.of(dtype, |[byte]| u8::from(byte != 0)),
            "int8" => self.of(dtype, i8::from_le_bytes),
            "int16" => self.of(dtype, i16::from_le_bytes),
            "int32" => self.of(dtype, i32::from_le_bytes),
            "int64" => self.of(dtype, i64::from_le_bytes),
            "uint8" => self.of(dtype, u8::from_le_bytes),
            "uint16" => self.of(dtype, u16::from_le_bytes),
            "uint32" => self.of(dtype, u32::from_le_bytes),
            "uint64" => self.of(dtype, u64::from_le_bytes),
            other => Err(format!("its dtype is {other}, which is not read")),
        }
    }

    /// Reads them as values of `N` bytes each.
    fn of<T: Element, const N: usize>(
        mut self,
        dtype: &'static str,
        from_le_bytes: impl Fn([u8; N]) -> T,
    ) -> Result<Loaded, String> {
        let count = self.count(N)?;
        let mut read = room(count)?;
        let mut exact: Option<Vec<f64>> = None;
        let mut buffer = vec![0_u8; CHUNK.min(count) * N];
        while read.len() < count {
            buffer.truncate((count - read.len()) * N);
            self.reader.read_exact(&mut buffer).map_err(|error| super::said(&error))?;
            for bytes in buffer.chunks_exact(N) {
                let mut element = [0_u8; N];
                element.copy_from_slice(bytes);
                if self.big_endian {
                    element.reverse();
                }
                let value = from_le_bytes(element);
                let (narrow, wide) = (self.element.rounded(value.to_f32()), value.to_f64());
                if narrow.is_infinite() && wide.is_some_and(f64::is_finite) {
                    let why = match self.element {
                        wgpu_norm::Element::F32 => {
                            format!("is beyond the largest float32, {:e}, which all work is done in", f32::MAX)
                        }
                        short => format!("is beyond the largest {}, which --dtype asks for", super::name(short)),
                    };
                    return Err(format!("its value {value:e} at index {:?} {why}", self.index(read.len())));
                }
                if self.exactly {
                    let Some(wide) = wide else {
                        let why = "is no float64, which --check goes by";
                        return Err(format!("its value {value} at index {:?} {why}", self.index(read.len())));
                    };
                    if exact.is_none() && f64::from(narrow) != wide && !wide.is_nan() {
                        let mut before = room(count)?;
                        before.extend(read.iter().copied().map(f64::from));
                        exact = Some(before);
                    }
                    exact.iter_mut().for_each(|exact| exact.push(wide));
                }
                read.push(narrow);
            }
            self.progress.advance(buffer.len() as u64);
        }
        Ok(Loaded {
            values: self.assemble(read)?,
            exact: exact.map(|exact| self.assemble(exact)).transpose()?,
            converted_from: (dtype != super::name(self.element)).then_some(dtype),
            read: None,
        })
    }

    /// How many values of `size` bytes there are, after a look at whether they can be.
    fn count(&self, size: usize) -> Result<usize, String> {
        let Self { shape, length, .. } = self;
        let count = super::elements(shape)?;
        let expected = (count * size) as u64;
        match length.cmp(&expected) {
            Ordering::Equal => Ok(count),
            Ordering::Less => Err(format!(
                "it is cut short or corrupt: its shape {shape:?} takes {expected} bytes of data, and it has {length}"
            )),
            Ordering::Greater => Err(format!(
                "it has {length} bytes of data, and its shape {shape:?} takes only {expected}; it is corrupt, or several \
                 arrays were saved in one file"
            )),
        }
    }

    /// The values in the order of the file, as an array.
    fn assemble<T>(&self, values: Vec<T>) -> Result<ArrayD<T>, String> {
        ArrayD::from_shape_vec(IxDyn(self.shape).set_f(self.fortran), values).map_err(|error| error.to_string())
    }

    /// The index of the element that is `position`th in the file.
    fn index(&self, position: usize) -> Vec<usize> {
        let mut rest = position;
        let mut step = |&dim: &usize| {
            let dim = dim.max(1);
            let at = rest % dim;
            rest /= dim;
            at
        };
        if self.fortran {
            self.shape.iter().map(&mut step).collect()
        } else {
            let mut index: Vec<usize> = self.shape.iter().rev().map(&mut step).collect();
            index.reverse();
            index
        }
    }
}

/// An empty vector with room for `count` values, or why there is none.
fn room<T>(count: usize) -> Result<Vec<T>, String> {
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        Err(_) => Err(format!("there is no memory for its {count} values")),
    }
}
