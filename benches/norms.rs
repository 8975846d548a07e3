//! Norms and their gradients at sizes that networks have: `cargo bench --features ndarray`. The cases and the clock are
//! those of `wgpu-norm bench`, which also tells how near each comes to a copy.
//!
//! Only dispatches are timed: buffers are bound once, and an iteration is one recording. The throughput is that of what
//! the plan's `bytes_moved` counts.

// The command reads more of it.
#[allow(dead_code, unused_imports)]
#[path = "../src/bin/wgpu-norm/bench/timing/mod.rs"]
mod timing;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wgpu_norm::reference::TOLERANCE;

use timing::{Clock, Device, Subject, Tensors};

fn norms(criterion: &mut Criterion) {
    let device = Device::open(None).expect("an adapter");
    println!("on {}", device.description);
    let mut clock: Option<Clock<'_>> = None;
    for direction in ["forward", "backward"] {
        let mut group = criterion.benchmark_group(direction);
        for case in timing::all().into_iter().filter(|case| case.direction.name() == direction) {
            let norm = case.norm().expect("a valid shape");
            let plan = case.plan(&device.context).expect("a plan");
            group.throughput(Throughput::Bytes(plan.bytes_moved()));
            let gradient = match case.direction.gradients() {
                [only] => format!(" {only}"),
                _ => String::new(),
            };
            let name = format!("{}{gradient} {} {}", case.name(), case.dims(), case.layout());
            group.bench_function(name, |bencher| {
                let tensors = Tensors::new(&case, &norm.parameter_shape());
                let mut subject = Subject::new(&device, &case, &plan, &tensors).expect("fitting buffers");
                // A wrong result is not worth timing.
                let error = subject.error(&device, &case, &tensors).expect("a result");
                assert!(error <= TOLERANCE, "off by {error:e}");
                let clock = clock.get_or_insert_with(|| {
                    let clock = Clock::new(&device, &mut |pass, times| subject.record(pass, times)).expect("a clock");
                    println!("by {}", clock.method());
                    clock
                });
                bencher.iter_custom(|times| {
                    let times = u32::try_from(times).expect("fewer iterations");
                    let seconds =
                        clock.time(times, &mut |pass, times| subject.record(pass, times)).expect("the device");
                    Duration::from_secs_f64(seconds)
                });
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = norms
}
criterion_main!(benches);
