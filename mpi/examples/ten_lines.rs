//! The example of the README: a batch norm forward and backward, over all ranks.
//!
//! `cargo build --release --examples`, then `mpirun -n 2 target/release/examples/ten_lines`

use wgpu_norm_mpi::wgpu_norm::{Backward, BatchNorm, Inputs};
use wgpu_norm_mpi::{Error, SyncBatchNorm, run};

fn main() -> std::process::ExitCode {
    run(|ranks| {
        let engine = ranks.engine()?; // a GPU for each rank, or the CPU
        let x = [ranks.rank() as f32; 8 * 3]; // 8 samples of 3 channels on each rank
        let norm = SyncBatchNorm::new(BatchNorm::channels_last(&[8, 3])?, ranks);
        let (y, whole) = norm.run(&engine, Inputs::new(&x[..]))?;
        let inputs = Inputs::new(&x[..]).grad_output(&y).statistics(whole.statistics());
        let gradients = norm.run_backward(&engine, Backward::new(), inputs)?;
        println!("rank {}: y {:?}, dx {:?}", ranks.rank(), &y[..3], &gradients.input.unwrap_or_default()[..3]);
        Ok::<_, Error>(())
    })
}
