//! Every argument of the library wrong in turn: a typed error that names it, never a panic.

use wgpu_norm::ndarray::{ArrayD, IxDyn};
use wgpu_norm::{
    Backward, BatchNorm, BindError, Capabilities, Context, Error, Gpu, GroupNorm, Inputs, InstanceNorm, LayerNorm,
    Momentum, Norm, Operands, Plan, RmsNorm, RunError, SpecError, VarianceEstimator, View, wgpu,
};

use crate::support::{Kind, cpu, gpu};

/// Whether the message has every part: what was wrong, what it was, what it must be.
fn says(error: &dyn std::error::Error, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "no {part:?} in: {text}");
    }
}

fn planned(norm: &dyn Norm) -> Result<(), SpecError> {
    gpu().context().plan(norm).map(|_| ())
}

fn with(change: impl FnOnce(&mut Capabilities)) -> Context {
    let mut capabilities = gpu().context().capabilities().clone();
    change(&mut capabilities);
    Context::with_capabilities(gpu().device(), capabilities)
}

/// The errors of a shape, from every way to make a norm of it.
fn of_shape(shape: &[usize]) -> Vec<SpecError> {
    let last = &shape[shape.len().saturating_sub(1)..];
    let results = [
        LayerNorm::new(shape, last).map(drop),
        RmsNorm::new(shape, last).map(drop),
        GroupNorm::new(shape, 1, 0).map(drop),
        GroupNorm::channels_first(shape, 1).map(drop),
        GroupNorm::channels_last(shape, 1).map(drop),
        InstanceNorm::new(shape, 0).map(drop),
        InstanceNorm::channels_first(shape).map(drop),
        InstanceNorm::channels_last(shape).map(drop),
        BatchNorm::new(shape, 0).map(drop),
        BatchNorm::channels_first(shape).map(drop),
        BatchNorm::channels_last(shape).map(drop),
        BatchNorm::pytorch(shape).map(drop),
        BatchNorm::onnx(shape).map(drop),
    ];
    results.into_iter().map(|result| result.expect_err("a wrong shape")).collect()
}

#[test]
fn a_scalar_has_no_axis_to_normalize() {
    for error in of_shape(&[]) {
        assert!(matches!(error, SpecError::ScalarInput { .. }), "{error:?}");
        says(&error, &["Norm: shape is []", "at least one axis"]);
    }
}

#[test]
fn shapes_past_2_to_the_31_are_refused() {
    let shapes: [&[usize]; 9] = [
        &[65_536, 32_769],
        &[1, (1 << 31) + 1],
        &[3, 1 << 16, 1 << 15, 1],
        &[usize::MAX, usize::MAX],
        &[usize::MAX, 2],
        &[1 << 32, 1 << 32],
        &[1 << 63, 2, 3],
        // Empty, but products of the other axes are formed all the same.
        &[0, (1 << 31) + 1],
        &[usize::MAX, 0, usize::MAX],
    ];
    for shape in shapes {
        for error in of_shape(shape) {
            assert!(
                matches!(&error, SpecError::TooManyElements { shape: given, limit: 2_147_483_648, .. } if given == shape),
                "{error:?}"
            );
            says(&error, &["Norm: shape", &format!("{shape:?}"), "2147483648", "elements"]);
        }
    }
    // The largest that may be.
    assert!(LayerNorm::new(&[65_536, 32_768], &[32_768]).is_ok());
    assert!(BatchNorm::channels_last(&[1 << 31, 1]).is_ok());
    assert!(GroupNorm::channels_first(&[0, 1 << 31], 1).is_ok());
}

#[test]
fn normalized_shape_is_how_the_shape_ends() {
    let wrong: [&[usize]; 7] = [&[2], &[3], &[2, 3], &[4, 3], &[2, 3, 4, 5], &[0], &[1, 4]];
    for normalized in wrong {
        let shape = [2, 3, 4];
        for error in [
            LayerNorm::new(&shape, normalized).map(drop).unwrap_err(),
            RmsNorm::new(&shape, normalized).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, SpecError::NormalizedShape { .. }), "{error:?}");
            let given = format!("normalized_shape is {normalized:?}");
            says(&error, &["Norm", &given, "must be the last axes of shape [2, 3, 4]"]);
        }
    }
    for error in
        [LayerNorm::new(&[2, 3], &[]).map(drop).unwrap_err(), RmsNorm::new(&[2, 3], &[]).map(drop).unwrap_err()]
    {
        assert!(matches!(error, SpecError::EmptyNormalizedShape { .. }), "{error:?}");
        says(&error, &["Norm", "normalized_shape is []", "must name at least the last axis of shape [2, 3]"]);
    }
}

#[test]
fn the_channel_axis_is_an_axis() {
    let shape = [2, 3, 4];
    for axis in [3, 4, -4, -5, isize::MAX, isize::MIN] {
        for error in [
            GroupNorm::new(&shape, 1, axis).map(drop).unwrap_err(),
            InstanceNorm::new(&shape, axis).map(drop).unwrap_err(),
            BatchNorm::new(&shape, axis).map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, SpecError::ChannelAxis { .. }), "{error:?}");
            let given = format!("channel_axis is {axis}");
            says(&error, &["Norm: ", &given, "must be in -3 to 2 for shape [2, 3, 4]"]);
        }
    }
    // Without an axis 1 there are no channels first.
    for error in [
        GroupNorm::channels_first(&[6], 1).map(drop).unwrap_err(),
        InstanceNorm::channels_first(&[6]).map(drop).unwrap_err(),
        BatchNorm::channels_first(&[6]).map(drop).unwrap_err(),
        BatchNorm::pytorch(&[6]).map(drop).unwrap_err(),
        BatchNorm::onnx(&[6]).map(drop).unwrap_err(),
    ] {
        says(&error, &["Norm: channel_axis is 1 but must be in -1 to 0 for shape [6]"]);
    }
    for axis in -3..3 {
        assert!(BatchNorm::new(&shape, axis).is_ok());
    }
}

#[test]
fn groups_divide_the_channels() {
    for groups in [0, 4, 5, 7, 12, usize::MAX] {
        let error = GroupNorm::channels_first(&[2, 6, 5], groups).unwrap_err();
        assert!(matches!(error, SpecError::NumGroups { channels: 6, axis: 1, .. }), "{error:?}");
        let given = format!("num_groups is {groups}");
        says(&error, &["GroupNorm: ", &given, "at least 1 and divide the 6 channels", "axis 1 of shape [2, 6, 5]"]);
    }
    for groups in [1, 2, 3, 6] {
        assert!(GroupNorm::channels_first(&[2, 6, 5], groups).is_ok());
    }
}

#[test]
fn eps_is_a_number_to_add() {
    let shape = [2, 6];
    for eps in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -1e-30] {
        let norms: [Box<dyn Norm>; 6] = [
            Box::new(LayerNorm::new(&shape, &[6]).unwrap().eps(eps)),
            Box::new(RmsNorm::new(&shape, &[6]).unwrap().eps(eps)),
            Box::new(GroupNorm::new(&shape, 2, 1).unwrap().eps(eps)),
            Box::new(InstanceNorm::new(&shape, 1).unwrap().eps(eps)),
            Box::new(BatchNorm::new(&shape, 1).unwrap().eps(eps)),
            Box::new(BatchNorm::new(&shape, 1).unwrap().eps(eps).eval()),
        ];
        for norm in norms {
            let error = planned(norm.as_ref()).unwrap_err();
            assert!(matches!(error, SpecError::Parameter { parameter: "eps", .. }), "{error:?}");
            says(&error, &[norm.name(), &format!("eps is {eps}"), "must be finite and at least 0"]);
            // The same from the ways that plan by themselves.
            let x = [0.0; 12];
            assert!(matches!(gpu().run_blocking(norm.as_ref(), Inputs::new(&x)), Err(Error::Spec(_))));
            let x = ArrayD::<f32>::zeros(IxDyn(&shape));
            assert!(matches!(gpu().run_array_blocking(norm.as_ref(), Inputs::new(x.view())), Err(Error::Spec(_))));
        }
    }
    for eps in [0.0, -0.0, f32::MIN_POSITIVE, f32::MAX] {
        assert!(planned(&LayerNorm::new(&shape, &[6]).unwrap().eps(eps)).is_ok());
    }
}

#[test]
fn momentum_is_a_share() {
    for momentum in [-0.1, 1.1, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for given in [Momentum::exponential(momentum), Momentum::onnx(momentum), momentum.into()] {
            let norm = BatchNorm::channels_last(&[4, 2]).unwrap().momentum(given);
            let error = planned(&norm).unwrap_err();
            assert!(matches!(error, SpecError::Parameter { parameter: "momentum", .. }), "{error:?}");
            says(&error, &["BatchNorm: ", &format!("momentum is {momentum}"), "must be in 0 to 1"]);
        }
    }
    for momentum in [0.0, 0.1, 1.0] {
        assert!(planned(&BatchNorm::channels_last(&[4, 2]).unwrap().momentum(momentum)).is_ok());
    }
}

#[test]
fn the_weight_offset_is_finite() {
    for offset in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = planned(&RmsNorm::new(&[4, 2], &[2]).unwrap().weight_offset(offset)).unwrap_err();
        assert!(matches!(error, SpecError::Parameter { parameter: "weight_offset", .. }), "{error:?}");
        says(&error, &["RmsNorm: ", &format!("weight_offset is {offset}"), "must be finite"]);
    }
}

/// What a device cannot hold or dispatch, in its own words.
#[test]
fn limits_are_named() {
    let norms: [Box<dyn Norm>; 4] = [
        Box::new(LayerNorm::new(&[16, 256], &[256]).unwrap()),
        Box::new(GroupNorm::channels_last(&[2, 16, 128], 4).unwrap()),
        Box::new(BatchNorm::channels_first(&[16, 4, 64]).unwrap()),
        Box::new(BatchNorm::channels_last(&[16, 256]).unwrap().eval()),
    ];
    for norm in &norms {
        let bytes = 4 * 16 * 256;
        let error = with(|c| c.max_buffer = bytes - 1).plan(norm.as_ref()).unwrap_err();
        assert!(matches!(error, SpecError::Limit { needs, .. } if needs == bytes), "{error:?}");
        says(&error, &[norm.name(), "x needs 16384 bytes", "max_buffer_size", &format!("is {}", bytes - 1)]);
        // Larger than a binding it goes in windows, but not in parts smaller than a tile.
        assert!(with(|c| c.max_binding = bytes - 1).plan(norm.as_ref()).is_ok());
        let error = with(|c| c.max_binding = 64).plan(norm.as_ref()).unwrap_err();
        says(&error, &[norm.name(), "max_storage_buffer_binding_size", "is 64"]);
        assert!(with(|c| (c.max_binding, c.max_buffer) = (bytes, bytes)).plan(norm.as_ref()).is_ok());
        // And a shape that no device holds.
        let huge = LayerNorm::new(&[65_536, 32_767], &[32_767]).unwrap();
        let error = with(|c| c.max_buffer = 1 << 30).plan(&huge).unwrap_err();
        says(&error, &["LayerNorm", "8589672448 bytes", "max_buffer_size", "is 1073741824"]);
    }

    let rows = LayerNorm::new(&[100_000, 64], &[64]).unwrap();
    let error = with(|c| c.max_workgroups = 9).plan(&rows).unwrap_err();
    assert!(matches!(error, SpecError::Limit { unit: "workgroups", has: 81, .. }), "{error:?}");
    says(&error, &["LayerNorm", "the dispatch needs", "workgroups", "max_compute_workgroups_per_dimension", "81"]);

    // Groups of one element: 16 bytes of statistics for each.
    let groups = BatchNorm::channels_first(&[1, 1000, 1]).unwrap();
    let error = with(|c| c.max_binding = 15_999).plan(&groups).unwrap_err();
    says(&error, &["BatchNorm", "scratch for", "needs 16000 bytes", "max_storage_buffer_binding_size is 15999"]);
}

#[test]
fn capabilities_that_make_no_sense_do_no_harm() {
    let norms: [Box<dyn Norm>; 3] = [
        Box::new(LayerNorm::new(&[3, 256], &[256]).unwrap()),
        Box::new(BatchNorm::channels_first(&[16, 4, 64]).unwrap()),
        Box::new(GroupNorm::channels_last(&[2, 16, 128], 4).unwrap()),
    ];
    for norm in &norms {
        for subgroup_sizes in [None, Some((0, 0)), Some((1, 1)), Some((7, 7)), Some((64, 4)), Some((1 << 31, 1 << 31))]
        {
            for max_invocations in [0, 1, u32::MAX] {
                for max_workgroups in [0, u32::MAX] {
                    for software in [false, true] {
                        let context = with(|c| {
                            c.subgroup_sizes = subgroup_sizes;
                            c.max_invocations = max_invocations;
                            c.max_workgroups = max_workgroups;
                            c.software = software;
                        });
                        let _ = context.plan(norm.as_ref());
                    }
                }
            }
        }
    }
}

fn storage(bytes: u64) -> wgpu::Buffer {
    buffer(gpu(), bytes, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC)
}

fn buffer(gpu: &Gpu, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
    gpu.device().create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
}

fn refused(norm: &dyn Norm, operands: &Operands<'_>) -> BindError {
    refused_by(gpu().context(), norm, operands)
}

fn refused_by(context: &Context, norm: &dyn Norm, operands: &Operands<'_>) -> BindError {
    let plan = context.plan(norm).unwrap();
    context.bind(&plan, operands).expect_err("operands that do not fit")
}

/// One that takes every tensor: 16 rows of 8 channels.
fn training() -> BatchNorm {
    BatchNorm::channels_last(&[16, 8]).unwrap()
}

/// Each tensor in a buffer that just fits it.
struct Fitting {
    x: wgpu::Buffer,
    y: wgpu::Buffer,
    vectors: Vec<wgpu::Buffer>,
    count: wgpu::Buffer,
}

impl Fitting {
    fn new() -> Self {
        Self { x: storage(512), y: storage(512), vectors: (0..6).map(|_| storage(32)).collect(), count: storage(4) }
    }

    fn operands(&self) -> Operands<'_> {
        Operands::new(&self.x, &self.y)
            .weight(&self.vectors[0])
            .bias(&self.vectors[1])
            .mean(&self.vectors[2])
            .rstd(&self.vectors[3])
            .running_mean(&self.vectors[4])
            .running_var(&self.vectors[5])
            .num_batches_tracked(&self.count)
    }
}

/// The name of a tensor, its bytes in [`Fitting`], and how it is replaced by another view.
type Tensor = (&'static str, u64, for<'a> fn(&'a Fitting, View<'a>) -> Operands<'a>);

const TENSORS: [Tensor; 9] = [
    ("x", 512, |fitting, view| fitting.with_x(view)),
    ("y", 512, |fitting, view| fitting.with_y(view)),
    ("weight", 32, |fitting, view| fitting.operands().weight(view)),
    ("bias", 32, |fitting, view| fitting.operands().bias(view)),
    ("mean", 32, |fitting, view| fitting.operands().mean(view)),
    ("rstd", 32, |fitting, view| fitting.operands().rstd(view)),
    ("running_mean", 32, |fitting, view| fitting.operands().running_mean(view)),
    ("running_var", 32, |fitting, view| fitting.operands().running_var(view)),
    ("num_batches_tracked", 4, |fitting, view| fitting.operands().num_batches_tracked(view)),
];

impl Fitting {
    fn with_x<'a>(&'a self, view: View<'a>) -> Operands<'a> {
        self.others(Operands::new(view, &self.y))
    }

    fn with_y<'a>(&'a self, view: View<'a>) -> Operands<'a> {
        self.others(Operands::new(&self.x, view))
    }

    fn others<'a>(&'a self, operands: Operands<'a>) -> Operands<'a> {
        operands
            .weight(&self.vectors[0])
            .bias(&self.vectors[1])
            .mean(&self.vectors[2])
            .rstd(&self.vectors[3])
            .running_mean(&self.vectors[4])
            .running_var(&self.vectors[5])
            .num_batches_tracked(&self.count)
    }
}

#[test]
fn what_fits_is_bound() {
    let fitting = Fitting::new();
    let plan = gpu().context().plan(&training()).unwrap();
    gpu().context().bind(&plan, &fitting.operands()).unwrap();
}

#[test]
fn each_tensor_fits_its_buffer() {
    let fitting = Fitting::new();
    for (name, bytes, replace) in TENSORS {
        let small = storage(bytes - 4);
        let error = refused(&training(), &replace(&fitting, View::from(&small)));
        let size = bytes - 4;
        assert_eq!(error, BindError::TooSmall { tensor: tensor(&error), needs: bytes, offset: 0, size });
        let parts = [&format!("{name}: {bytes} bytes from offset 0"), "buffer", &format!("of {size} bytes")];
        says(&error, &parts.map(|part| part as &str));

        let exact = storage(bytes);
        let error = refused(&training(), &replace(&fitting, View::new(&exact, 4)));
        says(&error, &[&format!("{name}: {bytes} bytes from offset 4"), &format!("{bytes} bytes")]);
        for offset in [bytes, 4 * bytes, u64::MAX - 3] {
            let error = refused(&training(), &replace(&fitting, View::new(&exact, offset)));
            assert!(matches!(error, BindError::TooSmall { .. }), "{error:?}");
            says(&error, &[name, &format!("offset {offset}")]);
        }
        // A slice says where it starts.
        let larger = storage(bytes + 4);
        let error = refused(&training(), &replace(&fitting, View::from(larger.slice(8..))));
        says(&error, &[name, "from offset 8"]);
    }
}

/// The name an error gives; what it must be is asked of the text.
fn tensor(error: &BindError) -> &'static str {
    match error {
        BindError::TooSmall { tensor, .. }
        | BindError::Alignment { tensor, .. }
        | BindError::Usage { tensor, .. }
        | BindError::Missing { tensor, .. }
        | BindError::Unexpected { tensor, .. }
        | BindError::BindingSize { tensor, .. }
        | BindError::Length { tensor, .. }
        | BindError::Shape { tensor, .. } => tensor,
        error => panic!("{error:?}"),
    }
}

#[test]
fn each_tensor_starts_at_an_element() {
    let fitting = Fitting::new();
    for (name, bytes, replace) in TENSORS {
        let large = storage(bytes + 64);
        for offset in [1, 2, 3, 5, 17] {
            let error = refused(&training(), &replace(&fitting, View::new(&large, offset)));
            assert_eq!(error, BindError::Alignment { tensor: tensor(&error), offset, alignment: 4 });
            says(&error, &[name, &format!("offset is {offset} bytes"), "must be a multiple of 4"]);
        }
    }
}

#[test]
fn each_tensor_lies_in_a_storage_buffer() {
    let fitting = Fitting::new();
    for (name, bytes, replace) in TENSORS {
        for usage in [wgpu::BufferUsages::UNIFORM, wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST] {
            let other = buffer(gpu(), bytes, usage);
            let error = refused(&training(), &replace(&fitting, View::from(&other)));
            assert_eq!(error, BindError::Usage { tensor: tensor(&error), usage });
            says(&error, &[&format!("{name}: "), "usage", &format!("{usage:?}"), "must have STORAGE"]);
        }
    }
}

#[test]
fn tensors_that_are_needed_are_missed() {
    let fitting = Fitting::new();
    let (x, y) = (&fitting.x, &fitting.y);
    let [mean, var] = [&fitting.vectors[4], &fitting.vectors[5]];
    let none = Operands::new(x, y);
    let cumulative = training().momentum(Momentum::cumulative());
    let cases: [(&dyn Norm, Operands<'_>, &str, &str); 6] = [
        (&training(), none, "running_mean", "without_tracking"),
        (&training(), none.running_var(var), "running_mean", "without_tracking"),
        (&training(), none.running_mean(mean), "running_var", "without_tracking"),
        (&training().eval(), none, "running_mean", "eval mode"),
        (&training().eval(), none.running_mean(mean), "running_var", "eval mode"),
        (&cumulative, none.running_mean(mean).running_var(var), "num_batches_tracked", "cumulative"),
    ];
    for (norm, operands, name, why) in cases {
        let error = refused(norm, &operands);
        assert!(matches!(error, BindError::Missing { norm: "BatchNorm", .. }), "{error:?}");
        assert_eq!(tensor(&error), name);
        says(&error, &[&format!("BatchNorm: {name} is missing"), why]);
    }
}

#[test]
fn tensors_that_have_no_place_are_refused() {
    let fitting = Fitting::new();
    let vector = &fitting.vectors[0];
    let none = Operands::new(&fitting.x, &fitting.y);
    let shape = [16, 8];
    let layer = LayerNorm::new(&shape, &[8]).unwrap();
    let rms = RmsNorm::new(&shape, &[8]).unwrap();
    let group = GroupNorm::channels_last(&shape, 2).unwrap();
    let instance = InstanceNorm::channels_last(&shape).unwrap();
    let untracked = training().without_tracking();
    let eval = training().eval();
    let running = none.running_mean(vector).running_var(&fitting.vectors[1]);
    let count = &fitting.count;
    let mut cases: Vec<(&dyn Norm, Operands<'_>, &str, &str)> = vec![
        (&rms, none.mean(vector), "mean", "no mean"),
        (&eval, running.mean(vector), "mean", "eval mode"),
        (&eval, running.rstd(vector), "rstd", "eval mode"),
        (&eval, running.num_batches_tracked(count), "num_batches_tracked", "eval mode"),
        (&untracked, none.running_mean(vector), "running_mean", "without_tracking"),
        (&untracked, none.running_var(vector), "running_var", "without_tracking"),
        (&untracked, none.num_batches_tracked(count), "num_batches_tracked", "without_tracking"),
    ];
    for norm in [&layer as &dyn Norm, &rms, &group, &instance] {
        cases.extend([
            (norm, none.running_mean(vector), "running_mean", "only BatchNorm"),
            (norm, none.running_var(vector), "running_var", "only BatchNorm"),
            (norm, none.num_batches_tracked(count), "num_batches_tracked", "only BatchNorm"),
        ]);
    }
    for (norm, operands, name, why) in cases {
        let error = refused(norm, &operands);
        assert!(matches!(error, BindError::Unexpected { .. }), "{error:?}");
        assert_eq!(tensor(&error), name);
        says(&error, &[norm.name(), &format!("{name} was given"), why]);
    }
}

/// The same from slices and arrays, before anything is uploaded.
#[test]
fn slices_and_arrays_are_checked_alike() {
    let gpu = gpu();
    let (x, vector) = (vec![1.0; 128], vec![1.0; 8]);
    let bind = |norm: &dyn Norm, inputs: Inputs<&[f32]>| match gpu.run_blocking(norm, inputs) {
        Err(Error::Bind(error)) => error,
        other => panic!("{other:?}"),
    };
    let layer = LayerNorm::new(&[16, 8], &[8]).unwrap();
    let error = bind(&layer, Inputs::new(&x[..]).running_mean(&vector));
    says(&error, &["LayerNorm: running_mean was given", "only BatchNorm"]);
    let error = bind(&layer, Inputs::new(&x[..]).num_batches_tracked(3));
    says(&error, &["LayerNorm: num_batches_tracked was given", "only BatchNorm"]);
    let error = bind(&RmsNorm::new(&[16, 8], &[8]).unwrap(), Inputs::new(&x[..]).with_mean());
    says(&error, &["RmsNorm: mean was given", "no mean"]);
    let error = bind(&training(), Inputs::new(&x[..]));
    says(&error, &["BatchNorm: running_mean is missing"]);
    let eval = training().eval();
    let error = bind(&eval, Inputs::new(&x[..]).running_mean(&vector).running_var(&vector).with_rstd());
    says(&error, &["BatchNorm: rstd was given", "eval mode"]);

    for length in [0, 1, 127, 129] {
        let wrong = vec![1.0; length];
        let error = bind(&layer, Inputs::new(&wrong[..]));
        assert_eq!(error, BindError::Length { tensor: "x", length, must: 128, shape: vec![16, 8] });
        says(&error, &[&format!("x: it has {length} elements"), "must have 128, those of shape [16, 8]"]);
    }
    for length in [0, 7, 9, 128] {
        let wrong = vec![1.0; length];
        let inputs = Inputs::new(&x[..]).running_mean(&vector).running_var(&vector);
        for (name, inputs) in [
            ("weight", inputs.weight(&wrong)),
            ("bias", inputs.bias(&wrong)),
            ("running_mean", inputs.running_mean(&wrong)),
            ("running_var", inputs.running_var(&wrong)),
        ] {
            let error = bind(&training(), inputs);
            assert_eq!(error, BindError::Length { tensor: tensor(&error), length, must: 8, shape: vec![8] });
            says(&error, &[&format!("{name}: it has {length} elements"), "must have 8, those of shape [8]"]);
        }
    }

    let arrays = |shape: &[usize]| ArrayD::<f32>::ones(IxDyn(shape));
    let x = arrays(&[16, 8]);
    for shape in [&[8, 16][..], &[128], &[16, 8, 1], &[1, 16, 8], &[16, 7], &[]] {
        let wrong = arrays(shape);
        let error = gpu.run_array_blocking(&layer, Inputs::new(wrong.view())).unwrap_err();
        let want = BindError::Shape { tensor: "x", shape: shape.to_vec(), must: vec![16, 8] };
        assert_eq!(error, Error::Bind(want));
        says(&error, &[&format!("x: its shape is {shape:?}"), "must be [16, 8]"]);
    }
    for shape in [&[8, 1][..], &[7], &[1, 8], &[]] {
        let wrong = arrays(shape);
        let error = gpu.run_array_blocking(&layer, Inputs::new(x.view()).bias(wrong.view())).unwrap_err();
        says(&error, &[&format!("bias: its shape is {shape:?}"), "must be [8]"]);
    }
}

/// Every pair in which one at least is written.
#[test]
fn what_is_written_overlaps_nothing() {
    let fitting = Fitting::new();
    let large = storage(4096);
    let overlap = |operands: &Operands<'_>, one: &str, other: &str| {
        let error = refused(&training(), operands);
        let BindError::Overlap { written, other: with, .. } = error else { panic!("{one} and {other}: {error:?}") };
        assert!([(one, other), (other, one)].contains(&(written, with)), "{written} {with}: {one} {other}");
        says(&error, &[written, with, "is written and overlaps", "must be apart"]);
    };
    // Partly, from either side.
    let others = |x: u64, y: u64| fitting.others(Operands::new(View::new(&large, x), View::new(&large, y)));
    for (x, y) in [(0, 4), (4, 0), (0, 508), (508, 0), (256, 512)] {
        overlap(&others(x, y), "x", "y");
    }
    let plan = gpu().context().plan(&training()).unwrap();
    for (x, y) in [(0, 512), (512, 0), (4, 516), (8, 8)] {
        gpu().context().bind(&plan, &others(x, y)).unwrap();
    }
    let names: Vec<&str> = TENSORS.iter().map(|&(name, ..)| name).collect();
    let read_only = ["x", "weight", "bias"];
    let all = |at: &dyn Fn(&str) -> u64| {
        let view = |name: &str| View::new(&large, at(name));
        Operands::new(view("x"), view("y"))
            .weight(view("weight"))
            .bias(view("bias"))
            .mean(view("mean"))
            .rstd(view("rstd"))
            .running_mean(view("running_mean"))
            .running_var(view("running_var"))
            .num_batches_tracked(view("num_batches_tracked"))
    };
    let apart = |name: &str| 448 + 64 * names.iter().position(|&other| other == name).unwrap() as u64;
    for (number, &one) in names.iter().enumerate() {
        for &other in &names[..number] {
            // x and y need more than 64 bytes: x is far behind, y before.
            let place = |name: &str| match name {
                "x" => 2048,
                "y" => 3072,
                name => apart(name),
            };
            let moved = all(&|name| place(if name == one { other } else { name }));
            let in_place = (one, other) == ("y", "x");
            if in_place || (read_only.contains(&one) && read_only.contains(&other)) {
                gpu().context().bind(&plan, &moved).unwrap_or_else(|error| panic!("{one} on {other}: {error}"));
            } else {
                overlap(&moved, one, other);
            }
        }
    }
    // In place, what else is written must be apart from it too.
    let inside = fitting.others(Operands::in_place(&large)).rstd(View::new(&large, 256));
    let error = refused(&training(), &inside);
    assert!(matches!(error, BindError::Overlap { .. }), "{error:?}");
    // Eval writes y alone: the running statistics may be one.
    let eval = gpu().context().plan(&training().eval()).unwrap();
    let vector = &fitting.vectors[0];
    let operands = Operands::new(&fitting.x, &fitting.y).running_mean(vector).running_var(vector);
    gpu().context().bind(&eval, &operands).unwrap();
    let operands = operands.weight(&fitting.y);
    let error = gpu().context().bind(&eval, &operands).unwrap_err();
    assert_eq!(error, BindError::Overlap { written: "y", other: "weight", may_coincide: false });
    assert_eq!(error.to_string(), "y is written and overlaps weight in the same buffer, but they must be apart");
    // The one that may be the other is told so, and of no others.
    let operands = Operands::new(View::new(&large, 0), View::new(&large, 4)).running_mean(vector).running_var(vector);
    let error = gpu().context().bind(&eval, &operands).unwrap_err();
    assert_eq!(error, BindError::Overlap { written: "y", other: "x", may_coincide: true });
    assert_eq!(
        error.to_string(),
        "y is written and overlaps x in the same buffer, but they must be apart or exactly the same"
    );
}

/// Operands of one kind of pass for a plan of another: what to start from.
#[test]
fn operands_of_another_direction() {
    let context = gpu().context();
    let layer = LayerNorm::new(&[16, 8], &[8]).unwrap();
    let (x, other) = (storage(512), storage(512));
    let [new, backward, of] = [Operands::new(&x, &other), Operands::backward(&other, &x), Operands::of(&x)];
    let plans = [
        ("a forward pass", "Operands::new", context.plan(&layer).unwrap(), [backward, of]),
        ("a forward pass", "Operands::new", context.plan_from_moments(&layer, 2).unwrap(), [backward, of]),
        ("a backward pass", "Operands::backward", context.plan_backward(&layer, Backward::new()).unwrap(), [new, of]),
        ("a backward pass", "Operands::backward", context.plan_backward_from_sums(&layer, 1).unwrap(), [new, of]),
        ("moments", "Operands::of", context.plan_moments(&layer).unwrap(), [new, backward]),
    ];
    for (what, start, plan, wrong) in plans {
        for operands in wrong {
            let error = context.bind(&plan, &operands.weight(&x)).unwrap_err();
            assert!(matches!(error, BindError::Direction { norm: "LayerNorm", .. }), "{error:?}");
            says(&error, &[&format!("LayerNorm: the plan is for {what}"), &format!("must start from {start}")]);
        }
    }
    let plan = context.plan_backward(&layer, Backward::new()).unwrap();
    let says_all = |operands: &Operands<'_>, want: &str| {
        assert_eq!(context.bind(&plan, operands).unwrap_err().to_string(), want);
    };
    says_all(
        &new,
        "LayerNorm: the plan is for a backward pass, so its operands must start from Operands::backward, \
         but these start from Operands::new or Operands::in_place",
    );
    says_all(
        &backward,
        "LayerNorm: grad_input is missing: the plan computes it, and is without it by Backward::without_input()",
    );
    // Slices say which way by the call.
    let x = [1.0; 128];
    let error = gpu().run_blocking(&layer, Inputs::new(&x[..]).grad_output(&x)).unwrap_err();
    says(&error, &["grad_output was given, but gradients are of a backward pass: plan_backward, run_backward"]);
    let error = gpu().run_backward_blocking(&layer, Backward::new(), Inputs::new(&x[..])).unwrap_err();
    says(&error, &["grad_output is missing: every backward pass reads it"]);
}

/// What was asked for when planning, by the name of the method that asks for it.
#[test]
fn statistics_that_a_plan_goes_by_are_missed() {
    let context = gpu().context();
    let layer = LayerNorm::new(&[16, 8], &[8]).unwrap();
    let (x, dy) = (storage(512), storage(512));
    let saved = Backward::new().saved_statistics();
    let missing = |plan: &Plan| {
        let error = context.bind(plan, &Operands::backward(&dy, &x).sums(&dy)).unwrap_err();
        assert_eq!(tensor(&error), "statistics");
        error.to_string()
    };
    let error = context.bind(&context.plan_backward(&layer, saved).unwrap(), &Operands::backward(&dy, &x)).unwrap_err();
    let want =
        "LayerNorm: statistics is missing: by Backward::saved_statistics() the plan reads what the forward pass wrote";
    assert_eq!(error.to_string(), want);
    let error = gpu().run_backward_blocking(&layer, saved, Inputs::new(&[1.0; 128][..]).grad_output(&[1.0; 128]));
    assert_eq!(error.unwrap_err().to_string(), want);
    let want = "LayerNorm: statistics is missing: plans for parts of a batch go by those of the whole";
    assert_eq!(missing(&context.plan_backward_sums(&layer, Backward::new()).unwrap()), want);
    assert_eq!(missing(&context.plan_backward_from_sums(&layer, 2).unwrap()), want);
    let error = context.bind(&context.plan_moments(&layer).unwrap(), &Operands::of(&x)).unwrap_err();
    assert_eq!(error.to_string(), "LayerNorm: moments is missing: the plan writes them");
}

/// What is bound whole starts at the device's alignment: the bytes before the tensor count. (`x` and `y` go in windows.)
#[test]
fn bindings_are_as_large_as_the_device_allows() {
    let context = with(|c| (c.max_binding, c.storage_alignment) = (512, c.storage_alignment.max(256)));
    let plan = context.plan(&BatchNorm::channels_first(&[4, 128, 8]).unwrap().eval()).unwrap();
    let (x, vector, large) = (storage(4 * 4 * 128 * 8), storage(512), storage(4096));
    let at = |odd: &str, offset: u64| {
        let view = |name: &str| if name == odd { View::new(&large, offset) } else { View::new(&vector, 0) };
        let operands = Operands::in_place(&x).running_mean(view("running_mean")).running_var(view("running_var"));
        context.bind(&plan, &operands.weight(view("weight")).bias(view("bias")))
    };
    for name in ["weight", "bias", "running_mean", "running_var"] {
        at(name, 1024).unwrap();
        let error = at(name, 4).unwrap_err();
        assert!(matches!(error, BindError::BindingSize { needs: 516, has: 512, .. }), "{error:?}");
        says(&error, &[&format!("{name}: "), "516 bytes", "max_storage_buffer_binding_size is 512"]);
    }
}

#[test]
fn passes_bind_as_many_buffers_as_the_device_allows() {
    let fitting = Fitting::new();
    let few = with(|c| c.max_storage_buffers = 2);
    let error = refused_by(&few, &training(), &fitting.operands());
    // Partial and final statistics, mean, rstd and running statistics; the count has a pass of its own.
    let BindError::StorageBuffers { norm: "BatchNorm", pass, needs: 6, has: 2 } = error else { panic!("{error:?}") };
    assert_eq!(pass, "merge");
    says(&error, &["BatchNorm: pass merge needs 6", "max_storage_buffers_per_shader_stage is 2"]);
    let layer = LayerNorm::new(&[16, 8], &[8]).unwrap();
    let error = refused_by(&few, &layer, &Operands::new(&fitting.x, &fitting.y).weight(&fitting.vectors[0]));
    says(&error, &["LayerNorm: pass fused_rows needs 3", "is 2"]);
    // Without it, two are enough; in place, one is.
    let plan = few.plan(&layer).unwrap();
    few.bind(&plan, &Operands::new(&fitting.x, &fitting.y)).unwrap();
    few.bind(&plan, &Operands::in_place(&fitting.x).weight(&fitting.vectors[0])).unwrap();
    // What WebGPU promises is enough for all there is.
    let web = with(|c| c.max_storage_buffers = 8);
    let plan = web.plan(&training()).unwrap();
    web.bind(&plan, &fitting.operands()).unwrap();
}

/// Each axis of each norm empty in turn: there is nothing to normalize, and that is no error.
#[test]
fn empty_tensors_are_nothing_to_do() {
    let kinds = [
        Kind::Layer { ndim: 1 },
        Kind::Layer { ndim: 2 },
        Kind::Rms { ndim: 2, offset: 1.0 },
        Kind::LayerOver { axes: &[1] },
        Kind::RmsOver { axes: &[0, 2], offset: 0.0 },
        Kind::Group { groups: 1, axis: 0 },
        Kind::Group { groups: 2, axis: 1 },
        Kind::Group { groups: 2, axis: 2 },
        Kind::Instance { axis: 0 },
        Kind::Instance { axis: 1 },
        Kind::Instance { axis: 2 },
        Kind::BatchTrain { axis: 0 },
        Kind::BatchTrain { axis: 1 },
        Kind::BatchEval { axis: 2 },
    ];
    let shapes: [[usize; 3]; 5] = [[0, 4, 6], [2, 0, 6], [2, 4, 0], [0, 0, 0], [0, 4, 0]];
    for kind in kinds {
        for shape in shapes {
            let norm = kind.norm(&shape, 1e-5, None).unwrap();
            let plan = gpu().context().plan(norm.as_ref()).unwrap();
            assert!(plan.passes().is_empty() && plan.bytes_moved() == 0 && plan.scratch_bytes() == 0, "{plan}");
            assert!(plan.to_string().ends_with("empty, nothing to do"), "{plan}");

            let parameters = ArrayD::<f32>::ones(norm.parameter_shape());
            let x = ArrayD::<f32>::zeros(IxDyn(&shape));
            let mut inputs = Inputs::new(x.view()).weight(parameters.view()).bias(parameters.view());
            let eval = matches!(kind, Kind::BatchEval { .. });
            if eval {
                inputs = inputs.running_mean(parameters.view()).running_var(parameters.view());
            } else {
                inputs = inputs.with_rstd();
            }
            let has_mean = !eval && kind.takes("--save-mean");
            if has_mean {
                inputs = inputs.with_mean();
            }
            let out = gpu().run_array_blocking(norm.as_ref(), inputs.clone()).unwrap();
            assert_eq!(out.y.shape(), shape, "{kind:?}");
            assert_eq!((out.mean.is_some(), out.rstd.is_some()), (has_mean, !eval), "{kind:?} {shape:?}");
            for statistics in [out.mean, out.rstd].into_iter().flatten() {
                assert_eq!(statistics.shape(), norm.statistics_shape(), "{kind:?} {shape:?}");
                assert!(statistics.iter().all(|value| value.is_nan()), "{kind:?} {shape:?} {statistics}");
            }
            assert_eq!((out.running_mean, out.running_var, out.num_batches_tracked), (None, None, None));
            assert_eq!(cpu().run_array(norm.as_ref(), inputs).unwrap().y.shape(), shape, "{kind:?}");
        }
    }
    for shape in [[3, 0], [0, 3], [0, 0]] {
        let norm = BatchNorm::new(&shape, 1).unwrap().eval();
        let running = vec![1.0; shape[1]];
        let inputs = Inputs::new(&[0.0; 0][..]).running_mean(&running).running_var(&running);
        assert!(gpu().run_blocking(&norm, inputs).unwrap().y.is_empty(), "{shape:?}");
        assert!(cpu().run(&norm, inputs).unwrap().y.is_empty(), "{shape:?}");
    }
}

#[test]
fn empty_batches_leave_running_statistics() {
    for shape in [[0, 3, 5], [2, 3, 0]] {
        let (mean, var) = ([0.25, -1.0, 7.0], [1.5, 2.0, 0.0]);
        let norm = BatchNorm::new(&shape, 1).unwrap().running_variance(VarianceEstimator::Unbiased);
        let inputs = Inputs::new(&[0.0; 0][..]).running_mean(&mean).running_var(&var).num_batches_tracked(9);
        let out = gpu().run_blocking(&norm, inputs.with_mean().with_rstd()).unwrap();
        assert_eq!((out.y.len(), out.num_batches_tracked), (0, Some(9)));
        assert_eq!(out.running_mean.as_deref(), Some(&mean[..]));
        assert_eq!(out.running_var.as_deref(), Some(&var[..]));
        assert!(out.mean.unwrap().iter().chain(&out.rstd.unwrap()).all(|value| value.is_nan()));
        // What is wrong with it is still said.
        let error = gpu().run_blocking(&norm, inputs.weight(&[1.0])).unwrap_err();
        says(&error, &["weight: it has 1 elements but must have 3"]);
        let error =
            gpu().run_blocking(&norm, Inputs::new(&[0.0][..]).running_mean(&mean).running_var(&var)).unwrap_err();
        says(&error, &["x: it has 1 elements but must have 0"]);
    }
}

/// On buffers, even of no bytes: nothing is recorded and nothing written.
#[test]
fn empty_tensors_record_nothing() {
    let gpu = gpu();
    let filled = |words: &[u32]| {
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * words.len() as u64,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        buffer.get_mapped_range_mut(..).unwrap().copy_from_slice(bytemuck::cast_slice(words));
        buffer.unmap();
        buffer
    };
    let before = [1, 2, 3];
    let [mean, rstd, running_mean, running_var] = std::array::from_fn(|_| filled(&before));
    let count = filled(&[7]);
    let nothing = storage(0);
    let norm = BatchNorm::new(&[0, 3, 5], 1).unwrap();
    let plan = gpu.context().plan(&norm).unwrap();
    let operands = Operands::in_place(&nothing)
        .mean(&mean)
        .rstd(&rstd)
        .running_mean(&running_mean)
        .running_var(&running_var)
        .num_batches_tracked(&count);
    let bound = gpu.context().bind(&plan, &operands).unwrap();
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    bound.record(&mut encoder.begin_compute_pass(&Default::default()));
    let sources = [&mean, &rstd, &running_mean, &running_var, &count];
    let staging = sources.map(|source| {
        let staging = buffer(gpu, source.size(), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        encoder.copy_buffer_to_buffer(source, 0, &staging, 0, source.size());
        staging
    });
    gpu.queue().submit([encoder.finish()]);
    for (staging, want) in staging.iter().zip([&before[..], &before, &before, &before, &[7]]) {
        staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
        assert_eq!(words, want);
    }
    // Where it starts must lie in its buffer all the same.
    let plan = gpu.context().plan(&LayerNorm::new(&[0, 5], &[5]).unwrap()).unwrap();
    gpu.context().bind(&plan, &Operands::in_place(&nothing)).unwrap();
    let error = gpu.context().bind(&plan, &Operands::in_place(View::new(&nothing, 4))).unwrap_err();
    says(&error, &["x: 0 bytes from offset 4 do not fit in its buffer of 0 bytes"]);
}

/// As a caller makes them, with the least that WebGPU promises.
fn two_devices() -> [wgpu::Device; 2] {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    pollster::block_on(async {
        let adapter = instance.request_adapter(&Default::default()).await.unwrap();
        let device = async || adapter.request_device(&Default::default()).await.unwrap().0;
        [device().await, device().await]
    })
}

/// What wgpu refuses for the caller's doing must not be called a bug of the library.
fn not_our_fault(error: &BindError) {
    assert!(matches!(error, BindError::Device { .. }), "{error:?}");
    assert!(!error.to_string().contains("bug"), "{error}");
}

/// Buffers that are the caller's to destroy, and to make on the wrong device.
#[test]
fn buffers_that_cannot_be_bound() {
    let layer = LayerNorm::new(&[16, 8], &[8]).unwrap();
    let (x, y) = (storage(512), storage(512));
    let plan = gpu().context().plan(&layer).unwrap();
    y.destroy();
    let error = gpu().context().bind(&plan, &Operands::new(&x, &y)).unwrap_err();
    not_our_fault(&error);
    says(&error, &["destroyed"]);

    // Of one instance: ids of another's say nothing to wgpu, and it panics.
    let [one, other] = two_devices();
    let context = Context::new(&one);
    let plan = context.plan(&layer).unwrap();
    let of = |device: &wgpu::Device| {
        let usage = wgpu::BufferUsages::STORAGE;
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size: 512, usage, mapped_at_creation: false })
    };
    not_our_fault(&context.bind(&plan, &Operands::new(&of(&one), &of(&other))).unwrap_err());

    // Nothing of that is left behind.
    context.bind(&plan, &Operands::new(&of(&one), &of(&one))).unwrap();
    let y = storage(512);
    // A plan of another context is not taken for one of this.
    let error = gpu().context().bind(&plan, &Operands::new(&x, &y)).unwrap_err();
    assert_eq!(error, BindError::ForeignPlan { norm: "LayerNorm" });
    says(&error, &["LayerNorm", "other capabilities"]);
    let plan = gpu().context().plan(&layer).unwrap();
    gpu().context().bind(&plan, &Operands::new(&x, &y)).unwrap();
    assert!(gpu().run_blocking(&layer, Inputs::new(&[1.0; 128])).is_ok());
}

/// What a device was not made with, asked of it by hand.
#[test]
fn capabilities_that_the_device_has_not() {
    let has = gpu().context().capabilities().clone();
    if has.subgroup_sizes.is_none() {
        return;
    }
    let layer = LayerNorm::new(&[16, 1024], &[1024]).unwrap();
    let [plain, _] = two_devices();
    // Made without subgroups, planned for with them.
    let mut capabilities = Capabilities::of(&plain);
    assert_eq!(capabilities.subgroup_sizes, None);
    capabilities.subgroup_sizes = has.subgroup_sizes;
    let context = Context::with_capabilities(&plain, capabilities);
    let x = plain.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 16 * 1024,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    for _ in 0..2 {
        not_our_fault(&refused_by(&context, &layer, &Operands::in_place(&x)));
    }
    // The same device with what it has.
    let context = Context::new(&plain);
    context.bind(&context.plan(&layer).unwrap(), &Operands::in_place(&x)).unwrap();
}

#[test]
fn an_adapter_that_is_not_there() {
    let error = Gpu::with_adapter_blocking("no such name").unwrap_err();
    let Error::Run(RunError::NoSuchAdapter { name, by_environment, there }) = &error else { panic!("{error:?}") };
    assert_eq!((name.as_str(), *by_environment), ("no such name", false));
    assert!(there.contains(&gpu().describe()), "{there:?}");
    assert_eq!(
        error.to_string(),
        format!("no adapter's name contains \"no such name\"; there are: {}", there.join("; "))
    );
}
