//! Every public call that touches a device, on one that is lost before or meanwhile: a typed error, never a panic. And on a
//! queue of another device.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use wgpu_norm::ndarray::{ArrayD, IxDyn};
use wgpu_norm::nn::{
    BatchNormLayer, BatchNormOptions, BoundForward, GradOutput, LayerBefore, LayerNormLayer, LayerNormOptions, Saved,
    StateDict, Strictness,
};
use wgpu_norm::{
    Backward, BindError, Bound, Context, Engine, Error, Expected, Gpu, Inputs, LayerNorm, Operands, Probe, RunError,
    wgpu,
};

const SHAPE: [usize; 2] = [16, 8];
const LENGTH: usize = 128;

/// A device, and what was made on it while it was there.
struct World {
    gpu: Gpu,
    layer: BatchNormLayer,
    state: StateDict,
    /// Three tensors.
    tensors: [wgpu::Buffer; 3],
    /// A pass without the layer.
    bound: Bound,
    /// A forward pass of the layer, which was submitted.
    forward: BoundForward,
    saved: Saved,
}

impl World {
    fn new(gpu: Gpu) -> Self {
        let tensors = [(); 3].map(|()| {
            gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 4 * LENGTH as u64,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            })
        });
        let layer = BatchNormLayer::new_blocking(&gpu, BatchNormOptions::new(8)).unwrap();
        let forward = layer.bind_forward_blocking(&SHAPE, &tensors[0], &tensors[1]).unwrap();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let saved = forward.record(&mut encoder.begin_compute_pass(&Default::default()));
        gpu.queue().submit([encoder.finish()]);
        let state = layer.state_dict_blocking("").unwrap();
        let plan = gpu.context().plan(&norm()).unwrap();
        let bound = gpu.context().bind(&plan, &Operands::in_place(&tensors[0])).unwrap();
        Self { gpu, layer, state, tensors, bound, forward, saved }
    }

    /// Something that is recorded, and left.
    fn record(&self, record: impl FnOnce(&mut wgpu::ComputePass<'_>) -> Result<(), Error>) -> Result<(), Error> {
        // What wgpu says of the encoder is for the caller, whose it is.
        let scope = self.gpu.device().push_error_scope(wgpu::ErrorFilter::Validation);
        let result = {
            let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
            record(&mut encoder.begin_compute_pass(&Default::default()))
        };
        let _ = pollster::block_on(scope.pop());
        result
    }
}

fn norm() -> LayerNorm {
    LayerNorm::new(&SHAPE, &[8]).unwrap()
}

fn engine(world: &World) -> Engine {
    world.gpu.clone().into()
}

fn array() -> ArrayD<f32> {
    ArrayD::from_elem(IxDyn(&SHAPE), 1.0)
}

/// A public function, as `Type::function` without `_blocking` and `_async`, and a call of it.
type Call = (&'static str, fn(&World) -> Result<(), Error>);

/// All that touch a device and say how it went.
const CALLS: [Call; 36] = [
    ("BatchNormLayer::fold_into", |w| w.layer.fold_into_blocking(&LayerBefore::linear(&[8, 2], &[1.0; 16])).map(drop)),
    ("Context::bind", |w| {
        let plan = w.gpu.context().plan(&norm())?;
        Ok(w.gpu.context().bind(&plan, &Operands::in_place(&w.tensors[0])).map(drop)?)
    }),
    ("Context::warm_up", |w| {
        let context = w.gpu.context();
        Ok(context.warm_up(&context.plan(&norm())?, Expected::new())?)
    }),
    ("Engine::run", |w| engine(w).run_blocking(&norm(), Inputs::new(&[1.0; LENGTH])).map(drop)),
    ("Engine::run_array", |w| engine(w).run_array_blocking(&norm(), Inputs::new(array().view())).map(drop)),
    ("Engine::run_backward", |w| {
        let inputs = Inputs::new(&[1.0; LENGTH][..]).grad_output(&[1.0; LENGTH]);
        engine(w).run_backward_blocking(&norm(), Backward::new(), inputs).map(drop)
    }),
    ("Engine::run_backward_array", |w| {
        let x = array();
        let inputs = Inputs::new(x.view()).grad_output(x.view());
        engine(w).run_backward_array_blocking(&norm(), Backward::new(), inputs).map(drop)
    }),
    ("Engine::run_backward_from_sums", |w| {
        let inputs = Inputs::new(&[1.0; LENGTH][..]).grad_output(&[1.0; LENGTH]).statistics(&[1.0; 64]);
        engine(w).run_backward_from_sums_blocking(&norm(), inputs, &[1.0; 32]).map(drop)
    }),
    ("Engine::run_backward_sums", |w| {
        let inputs = Inputs::new(&[1.0; LENGTH][..]).grad_output(&[1.0; LENGTH]).statistics(&[1.0; 64]);
        engine(w).run_backward_sums_blocking(&norm(), Backward::new(), inputs).map(drop)
    }),
    ("Engine::run_from_statistics", |w| {
        let inputs = Inputs::new(&[1.0; LENGTH][..]).statistics(&[1.0; 64]);
        engine(w).run_from_statistics_blocking(&norm(), inputs).map(drop)
    }),
    ("Engine::run_moments", |w| engine(w).run_moments_blocking(&norm(), Inputs::new(&[1.0; LENGTH][..])).map(drop)),
    ("Gpu::examine", |w| w.gpu.examine_blocking(|_, _| {}).map(drop)),
    ("Gpu::probe", |w| w.gpu.probe_blocking().map(drop)),
    ("Gpu::probed", |w| w.gpu.clone().probed_blocking().map(drop)),
    ("Gpu::run", |w| w.gpu.run_blocking(&norm(), Inputs::new(&[1.0; LENGTH])).map(drop)),
    ("Gpu::run_array", |w| w.gpu.run_array_blocking(&norm(), Inputs::new(array().view())).map(drop)),
    ("Gpu::run_backward", |w| {
        let inputs = Inputs::new(&[1.0; LENGTH][..]).grad_output(&[1.0; LENGTH]);
        w.gpu.run_backward_blocking(&norm(), Backward::new(), inputs).map(drop)
    }),
    ("Gpu::run_backward_array", |w| {
        let x = array();
        let inputs = Inputs::new(x.view()).grad_output(x.view());
        w.gpu.run_backward_array_blocking(&norm(), Backward::new(), inputs).map(drop)
    }),
    ("Gpu::submit", |w| w.gpu.submit_blocking(|_| {}, &[]).map(drop)),
    ("Gpu::upload", |w| w.gpu.upload_blocking("x", &[1.0; LENGTH]).map(drop)),
    ("Layer::backward", |w| {
        let [_, dy, dx] = &w.tensors;
        w.layer.release();
        w.record(|pass| w.layer.backward(pass, &w.saved, GradOutput::new(dy).grad_input(dx)))
    }),
    ("Layer::bind_backward", |w| {
        let [_, dy, dx] = &w.tensors;
        w.layer.release();
        w.layer.bind_backward_blocking(&w.forward, GradOutput::new(dy).grad_input(dx)).map(drop)
    }),
    ("Layer::bind_forward", |w| {
        let [x, y, _] = &w.tensors;
        w.layer.release();
        w.layer.bind_forward_blocking(&SHAPE, x, y).map(drop)
    }),
    ("Layer::forward", |w| {
        let [x, y, _] = &w.tensors;
        w.layer.release();
        w.record(|pass| w.layer.forward(pass, &SHAPE, x, y).map(drop))
    }),
    ("Layer::gradients", |w| w.layer.gradients_blocking().map(drop)),
    ("Layer::load_state_dict", |w| w.layer.load_state_dict_blocking(&w.state, "", Strictness::Strict).map(drop)),
    ("Layer::new", |w| LayerNormLayer::new_blocking(&w.gpu, LayerNormOptions::new(&[8])).map(drop)),
    ("Layer::parameters", |w| w.layer.parameters_blocking().map(drop)),
    ("Layer::run", |w| w.layer.run_blocking(&SHAPE, &[1.0; LENGTH]).map(drop)),
    ("Layer::run_array", |w| w.layer.run_array_blocking(array().view()).map(drop)),
    ("Layer::run_backward", |w| w.layer.run_backward_blocking(&SHAPE, &[1.0; LENGTH], &[1.0; LENGTH]).map(drop)),
    ("Layer::run_backward_array", |w| w.layer.run_backward_array_blocking(array().view(), array().view()).map(drop)),
    ("Layer::running_statistics", |w| w.layer.running_statistics_blocking().map(drop)),
    ("Layer::state_dict", |w| w.layer.state_dict_blocking("").map(drop)),
    ("Layer::zero_grad", |w| w.layer.zero_grad_blocking()),
    ("Probe::of", |w| Probe::of_blocking(w.gpu.device(), w.gpu.queue()).map(drop)),
];

/// Those that have nothing to say of a device: it is still to be made, or asked for its limits, or the encoder is the caller's.
const SILENT: [&str; 12] = [
    "Bound::record",
    "BoundBackward::record",
    "BoundForward::record",
    "Capabilities::of",
    "Context::new",
    "Context::with_capabilities",
    "Engine::new",
    "Gpu::adapters",
    "Gpu::from_device",
    "Gpu::new",
    "Gpu::with_adapter",
    "Layer::record_zero_grad",
];

/// Every check of the doctor takes seconds where there is a device.
fn quick() -> impl Iterator<Item = Call> {
    CALLS.into_iter().filter(|&(name, _)| name != "Gpu::examine")
}

/// The public functions in `text` that touch a device: what they take, or that they wait, says so.
fn touching(text: &str, found: &mut BTreeSet<String>) {
    let mut of = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if let Some(rest) = line.trim_start().strip_prefix("impl") {
            of = implemented(rest);
        }
        let Some(rest) = line.trim_start().strip_prefix("pub ").filter(|rest| rest.contains("fn ")) else { continue };
        let (kind, rest) = rest.split_once("fn ").unwrap();
        let name = rest.split(['(', '<']).next().unwrap();
        let mut signature = rest.to_owned();
        while !signature.ends_with(['{', '}', ';']) {
            signature.push_str(lines.next().unwrap().trim());
        }
        let mut body = String::new();
        let end = format!("{indent}}}");
        if !signature.ends_with(['}', ';']) {
            lines.by_ref().take_while(|line| *line != end).for_each(|line| body.push_str(line));
        }
        let (takes, gives) = signature.split_once("->").unwrap_or((&signature, ""));
        let device = ["ComputePass", "CommandEncoder", "wgpu::Device", "wgpu::Queue"];
        let touches = kind.contains("async")
            || gives.contains("Future")
            || body.contains("block_on")
            || device.iter().any(|part| takes.contains(part));
        if touches {
            let name = name.trim_end_matches("_blocking").trim_end_matches("_async");
            found.insert(format!("{of}::{name}"));
        }
    }
}

/// The type of an `impl`, by what follows that word: ` Gpu {`, `<K: LayerOptions> Layer<K> {`.
fn implemented(rest: &str) -> String {
    let mut depth = 0;
    let generics = rest.find(|c| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c == ' '
    });
    rest[generics.unwrap_or(0)..].trim().chars().take_while(|c| c.is_alphanumeric()).collect()
}

fn walk(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("src/bin") {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            touching(&fs::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn no_call_is_forgotten() {
    let mut found = BTreeSet::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let listed = CALLS.iter().map(|&(name, _)| name).chain(SILENT);
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    let [new, gone] = [found.difference(&listed), listed.difference(&found)].map(|names| names.collect::<Vec<_>>());
    assert!(new.is_empty() && gone.is_empty(), "not listed here: {new:?}; listed, but not in the source: {gone:?}");
}

#[test]
fn public_functions_are_found() {
    let mut found = BTreeSet::new();
    let text = "
impl<K: Of<A>> Layer<K> {
    pub async fn one(&self) {
    }
    pub fn two(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
    ) -> Result<(), Error> {
    }
    pub fn three_blocking(&self) {
        pollster::block_on(self.three())
    }
    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }
    async fn private(&self) {
    }
}
impl Gpu {
    pub fn four(&self) -> impl Future<Output = ()> {
    }
}";
    touching(text, &mut found);
    assert_eq!(Vec::from_iter(found), ["Gpu::four", "Layer::one", "Layer::three", "Layer::two"]);
}

fn is_lost(name: &str, result: Result<(), Error>) {
    let error = result.expect_err(name);
    assert!(matches!(error, Error::Run(RunError::DeviceLost { .. })), "{name}: {error:?}");
    assert!(error.to_string().contains("the device was lost"), "{name}: {error}");
}

/// One that hears of its device, and one of the caller's that does not.
fn two_gpus() -> [Gpu; 2] {
    let gpu = Gpu::new_blocking().unwrap();
    let other = Gpu::new_blocking().unwrap();
    [gpu, Gpu::from_device(other.device(), other.queue())]
}

/// With all that a call makes at first made before, and not.
#[test]
fn calls_on_a_lost_device() {
    for used in [true, false] {
        for gpu in two_gpus() {
            let world = World::new(gpu);
            for (name, call) in quick().filter(|_| used) {
                call(&world).unwrap_or_else(|error| panic!("{name} on a device that is there: {error}"));
            }
            world.gpu.device().destroy();
            for (name, call) in CALLS {
                is_lost(name, call(&world));
            }
            let context = world.gpu.context();
            let bound = context.bind(&context.plan(&norm()).unwrap(), &Operands::in_place(&world.tensors[0]));
            assert!(matches!(bound, Err(BindError::DeviceLost { .. })), "{bound:?}");
            // What was bound before can still be recorded.
            let recorded = world.record(|pass| {
                world.bound.record(pass);
                Ok(())
            });
            recorded.unwrap();
        }
    }
    // Other devices live.
    assert!(crate::support::gpu().run_blocking(&norm(), Inputs::new(&[1.0; LENGTH])).is_ok());
}

/// A thread that polls the device of its own accord may be told of what another waits for.
#[test]
fn a_queue_is_its_devices_while_others_poll() {
    let [_, gpu] = two_gpus();
    let polling = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while polling.load(Ordering::Relaxed) {
                gpu.device().poll(wgpu::PollType::Poll).unwrap();
            }
        });
        let run = || Gpu::from_device(gpu.device(), gpu.queue()).run_blocking(&norm(), Inputs::new(&[1.0; LENGTH]));
        let failed: Vec<_> = (0..50).filter_map(|_| run().err()).collect();
        polling.store(false, Ordering::Relaxed);
        assert_eq!(failed, []);
    });
}

/// By another thread, at one time or another.
#[test]
fn calls_while_the_device_is_lost() {
    for (number, (name, call)) in quick().enumerate() {
        // Either of the two devices, before the first call and after it.
        for round in [number % 2, 2 + number / 2 % 2] {
            let [hears, of_callers] = two_gpus();
            let world = World::new(if round % 2 == 0 { hears } else { of_callers });
            if round >= 2 {
                call(&world).unwrap();
            }
            let device = world.gpu.device().clone();
            let destroyer = thread::spawn(move || {
                thread::sleep(Duration::from_micros(100 << (2 * round)));
                device.destroy();
            });
            while !destroyer.is_finished() {
                if let failed @ Err(_) = call(&world) {
                    is_lost(name, failed);
                }
            }
            is_lost(name, call(&world));
        }
    }
}

/// wgpu panics where a driver loses its device while it waits. A callback can do that too.
#[test]
fn a_panic_while_waiting() {
    for lost in [true, false] {
        // It waits before it first submits.
        let [_, gpu] = two_gpus();
        let device = gpu.device().clone();
        gpu.queue().on_submitted_work_done(move || {
            if lost {
                device.destroy();
            }
            panic!("of a callback");
        });
        let run = || gpu.run_blocking(&norm(), Inputs::new(&[1.0; LENGTH])).map(drop);
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
            Ok(result) if lost => is_lost("Gpu::run", result),
            Ok(result) => panic!("{result:?}, but it is not ours to catch"),
            Err(panic) => assert!(!lost && panic.downcast_ref() == Some(&"of a callback")),
        }
    }
}

/// What is checked after that is refused, and the report says why.
#[test]
fn a_device_lost_while_it_is_examined() {
    let gpu = Gpu::new_blocking().unwrap();
    let report = gpu.examine_blocking(|done, _| {
        if done == 0 {
            gpu.device().destroy();
        }
    });
    let report = report.unwrap();
    assert!(!report.is_trusted());
    assert!(report.to_string().contains("the device was lost"), "{report}");
}

/// Whose errors wgpu tells the other device alone.
#[test]
fn queues_of_another_device() {
    let [one, other] = two_gpus();
    let world = World::new(one.clone());
    let foreign =
        [Gpu::from_device(one.device(), other.queue()), one.clone().with_context(Context::new(other.device()))];
    for gpu in foreign {
        let world = World { gpu, ..World::new(one.clone()) };
        thread::scope(|scope| {
            let of_gpu = CALLS.iter().filter(|(name, _)| {
                ["Gpu::run", "Gpu::probe", "Gpu::examine", "Layer::new", "Probe::of"]
                    .iter()
                    .any(|start| name.starts_with(start))
            });
            for (name, call) in of_gpu {
                let world = &world;
                scope.spawn(move || {
                    let error = call(world).expect_err(name);
                    assert!(matches!(error, Error::Run(RunError::ForeignQueue)), "{name}: {error:?}");
                    assert!(error.to_string().contains("the queue is another device's"), "{error}");
                });
            }
        });
    }
    // And back.
    let right = one.with_context(Context::new(other.device())).with_context(world.gpu.context().clone());
    right.run_blocking(&norm(), Inputs::new(&[1.0; LENGTH])).unwrap();
}
