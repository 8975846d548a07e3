//! The devices that this package can reach, and the one place that decides whether it computes a norm.

use std::any::TypeId;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use burn::backend::{Backend, DTypeUsage, DispatchDevice};
use burn::tensor::wgpu::{WgpuOptions, WgpuSetup};
use burn::tensor::{DType, Device, Tensor};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::device::DeviceId;
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuServer};
use burn_cubecl::{CubeBackend, CubeDevice};
use wgpu_norm::{Backward, Context, Element, Plan, SpecError, wgpu};

use crate::error::{DeviceError, Error};
use crate::norm::{Norm, dtype};

/// What runs behind burn's wgpu devices, whose buffers this package knows.
pub(crate) type Server = WgpuServer<AutoCompiler>;

/// Starts burn's wgpu device as `options` say, so that the norms of this package run on it. It takes the place of
/// [`WgpuOptions::init`].
///
/// ```no_run
/// # fn main() -> Result<(), wgpu_norm_burn::DeviceError> {
/// use burn::tensor::Device;
///
/// let device = wgpu_norm_burn::init(Device::wgpu_options())?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`DeviceError`] if burn cannot start the device: there is none, or it has been started, which a tensor on it does, too.
pub fn init(options: WgpuOptions) -> Result<Device, DeviceError> {
    let (device, setup) = options.init_with_setup().map_err(|error| DeviceError::Init(error.into()))?;
    register(&device, &setup)?;
    Ok(device)
}

/// Makes the norms of this package run on a device that burn has started, from the handles that it was started with: those of
/// [`WgpuOptions::init_with_setup`], or those given to [`WgpuOptions::setup`]. With handles of another device, wgpu refuses what
/// the norms submit.
///
/// # Errors
///
/// [`DeviceError::NotWgpu`] if `device` is none of wgpu.
pub fn register(device: &Device, setup: &WgpuSetup) -> Result<(), DeviceError> {
    let reached = wgpu_device(device).and_then(|cube| {
        let client = cube.client();
        let is_ours = client.service_id().service == TypeId::of::<Server>();
        is_ours.then(|| (cube.to_id(), Reached::new(client, setup)))
    });
    let Some((id, reached)) = reached else { return Err(DeviceError::NotWgpu { device: device.clone().into() }) };
    DEVICES.write().unwrap_or_else(PoisonError::into_inner).insert(id, Arc::new(reached));
    Ok(())
}

static DEVICES: LazyLock<RwLock<HashMap<DeviceId, Arc<Reached>>>> = LazyLock::new(RwLock::default);

/// The device behind one with or without autodiff, if it is one of wgpu.
fn wgpu_device(device: &Device) -> Option<CubeDevice> {
    let inner = match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => device.clone().inner(),
        device => device.clone(),
    };
    match inner {
        DispatchDevice::Cube(device @ CubeDevice::Wgpu(_)) => Some(device),
        _ => None,
    }
}

/// Decides whether this package computes `norm` of `x`, before anything is done: on the device, with parameters of
/// `length`, and with all tensors of types that f32 can stand for. Each parameter comes with the type that it goes in as.
pub(crate) fn can<const D: usize>(
    norm: &Norm,
    x: &Tensor<D>,
    length: usize,
    parameters: &[(&'static str, &Tensor<1>, Element)],
) -> Result<(), Error> {
    let name = norm.name();
    let shape = x.shape();
    let shape = shape.as_slice();
    if shape.get(norm.axis) != Some(&length) {
        return Err(Error::Shape { norm: name, shape: shape.to_vec(), axis: norm.axis, length });
    }
    for &(tensor, value, _) in parameters {
        let [given] = value.dims();
        if given != length {
            return Err(Error::Parameter { norm: name, tensor, given, length });
        }
    }
    if shape.contains(&0) {
        return Err(Error::Empty { norm: name, shape: shape.to_vec() });
    }
    let mut types = vec![("x", x.dtype(), norm.storage.of_input())];
    types.extend(parameters.iter().map(|&(tensor, value, element)| (tensor, value.dtype(), element)));
    for &(tensor, dtype, _) in &types {
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16 | DType::Flex32) {
            return Err(Error::ElementType { norm: name, tensor, dtype });
        }
    }
    let device = x.device();
    let Some(cube) = wgpu_device(&device) else { return Err(Error::NotWgpu { norm: name, device: device.into() }) };
    for (tensor, given, element) in types {
        let must = dtype(element);
        if given != must && !CubeBackend::dtype_usage(&cube, given).contains(DTypeUsage::Storage) {
            return Err(Error::Cast { norm: name, tensor, dtype: given, must, device: device.into() });
        }
    }
    let Some(reached) = Reached::find(&cube) else {
        return Err(Error::NotRegistered { norm: name, device: device.into() });
    };
    if reached.client.is_capturing() {
        return Err(Error::Capturing { norm: name, device: device.into() });
    }
    reached.plan(norm, shape, None)?;
    Ok(())
}

/// A device that this package can reach.
pub(crate) struct Reached {
    client: Client,
    pub(crate) context: Context,
    pub(crate) queue: wgpu::Queue,
    plans: Mutex<HashMap<PlanKey, Arc<Plan>>>,
}

/// A norm, the shape of `x`, and what gradients are wanted, if a backward pass is.
type PlanKey = (Norm, Vec<usize>, Option<Backward>);

/// So many plans are kept. Shapes that change with every call would else fill the memory.
const KEPT_PLANS: usize = 1024;

impl Reached {
    fn new(client: Client, setup: &WgpuSetup) -> Self {
        Self { client, context: Context::new(&setup.device), queue: setup.queue.clone(), plans: Mutex::default() }
    }

    pub(crate) fn find(device: &CubeDevice) -> Option<Arc<Self>> {
        DEVICES.read().unwrap_or_else(PoisonError::into_inner).get(&device.to_id()).cloned()
    }

    /// The plan of a norm of an `x` of `shape`, or of its gradients.
    pub(crate) fn plan(&self, norm: &Norm, shape: &[usize], wanted: Option<Backward>) -> Result<Arc<Plan>, SpecError> {
        let key = (*norm, shape.to_vec(), wanted);
        let plans = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans().get(&key).cloned() {
            return Ok(plan);
        }
        let specification = norm.specification(shape)?;
        let plan = Arc::new(match wanted {
            None => self.context.plan(&specification)?,
            Some(wanted) => self.context.plan_backward(&specification, wanted)?,
        });
        let mut plans = plans();
        if plans.len() >= KEPT_PLANS {
            plans.clear();
        }
        plans.insert(key, plan.clone());
        Ok(plan)
    }
}
