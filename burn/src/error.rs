//! Why a norm of ours cannot be computed, or a device not be used.

use burn::tensor::wgpu::WgpuInitError;
use burn::tensor::{DType, Device};
use thiserror::Error;

/// Why this package cannot compute a norm. `forward` then takes burn's own module, `try_forward` returns it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The tensor is not on a wgpu device: on CUDA, ROCm or the CPU, for example.
    #[error("{norm}: x is on {device:?}, but must be on a wgpu device")]
    NotWgpu {
        /// The norm.
        norm: &'static str,
        /// Where `x` is.
        device: Box<Device>,
    },
    /// The tensor is on a wgpu device that burn made without this package.
    #[error(
        "{norm}: x is on {device:?}, which must be started by wgpu_norm_burn::init, or given to wgpu_norm_burn::register"
    )]
    NotRegistered {
        /// The norm.
        norm: &'static str,
        /// Where `x` is.
        device: Box<Device>,
    },
    /// burn records a graph on the device. It would not have what this package submits.
    #[error("{norm}: x is on {device:?}, which records a graph, and must not")]
    Capturing {
        /// The norm.
        norm: &'static str,
        /// Where `x` is.
        device: Box<Device>,
    },
    /// A tensor is of an element type that f32 cannot stand for.
    #[error("{norm}: {tensor} is of type {dtype:?}, but must be f32, f16, bf16 or flex32")]
    ElementType {
        /// The norm.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// Its type.
        dtype: DType,
    },
    /// A tensor must be cast to another type, and burn has no kernels for its own on the device: for bf16, in WGSL.
    #[error("{norm}: {tensor} is of type {dtype:?}, which burn cannot cast on {device:?}, but must be {must:?}")]
    Cast {
        /// The norm.
        norm: &'static str,
        /// The tensor.
        tensor: &'static str,
        /// Its type.
        dtype: DType,
        /// The type that it must be of.
        must: DType,
        /// Where it is.
        device: Box<Device>,
    },
    /// A tensor has too few axes, or the module's axis has another length.
    #[error("{norm}: x has shape {shape:?}, but its axis {axis} must be of length {length}")]
    Shape {
        /// The norm.
        norm: &'static str,
        /// The shape of `x`.
        shape: Vec<usize>,
        /// The axis that gamma and beta run along.
        axis: usize,
        /// What its length must be.
        length: usize,
    },
    /// A parameter is of another length than the axis it runs along.
    #[error("{norm}: {tensor} has length {given}, but must have {length}")]
    Parameter {
        /// The norm.
        norm: &'static str,
        /// The parameter, or the running statistic.
        tensor: &'static str,
        /// Its length.
        given: usize,
        /// What its length must be.
        length: usize,
    },
    /// The module is affine, but lacks gamma or beta.
    #[error("{norm}: affine is set, so gamma and beta must be there")]
    Affine {
        /// The norm.
        norm: &'static str,
    },
    /// The tensor has no elements.
    #[error("{norm}: x has shape {shape:?}, but must have elements")]
    Empty {
        /// The norm.
        norm: &'static str,
        /// The shape of `x`.
        shape: Vec<usize>,
    },
    /// wgpu-norm refuses the norm: an `epsilon` that is negative, or a tensor too large for the device.
    #[error(transparent)]
    Spec(#[from] wgpu_norm::SpecError),
}

/// Why [`register`](crate::register) or [`init`](crate::init) refuses a device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// burn could not start the device. It cannot start one twice.
    #[error(transparent)]
    Init(Box<WgpuInitError>),
    /// The device is none of wgpu.
    #[error("{device:?} is no wgpu device")]
    NotWgpu {
        /// The device.
        device: Box<Device>,
    },
}
