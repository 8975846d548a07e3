//! The ranks that share a batch: what they gather and sum, which GPU each has, and how a job begins and ends.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use mpi::Threading;
use mpi::traits::Communicator;
use wgpu_norm::{Engine, Gpu, features_for, limits_for, wgpu};

use crate::error::{Call, Error, RanksError};
use crate::transport::{self, Failure, Transport};

/// What a rank waits for the others, unless [`Ranks::set_deadline`] says otherwise: a first step compiles shaders, and may take long.
const DEADLINE: Duration = Duration::from_secs(300);

/// The ranks of a communicator, as one of them sees them. Clones are the same ranks.
///
/// All their calls are made by all of them, in the same order. They belong to one thread, the one that started MPI.
///
/// If one of these calls fails, or while this thread panics, then dropping the last clone ends the job: it prints the error to
/// standard error, and calls `MPI_Abort`. MPI's own end, `MPI_Finalize`, would wait for ranks that do not come.
#[derive(Clone)]
pub struct Ranks(Rc<Inner>);

struct Inner {
    /// None for a rank without others.
    transport: Option<Transport>,
    rank: usize,
    size: usize,
    deadline: Cell<Duration>,
    spent: Cell<Spent>,
    failed: RefCell<Option<RanksError>>,
}

/// What was spent in MPI: see [`Ranks::take_spent`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Spent {
    /// Messages: two for each call, of which the first says what the second will be.
    pub messages: u64,
    /// Bytes that this rank had for the others.
    pub bytes: u64,
    /// The time, with that in which this rank waited for others that were slower.
    pub time: Duration,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, bytes, time } = self;
        write!(f, "{messages} messages, {bytes} bytes, {:.1} us", time.as_secs_f64() * 1e6)
    }
}

/// Starts MPI, runs `program` with all ranks of the job, and ends it.
///
/// If `program` fails on any rank, its error goes to standard error and the whole job ends at once, with a status that is not 0. Call
/// this on the main thread, first of all.
pub fn run<E: fmt::Display>(program: impl FnOnce(&Ranks) -> Result<(), E>) -> ExitCode {
    // Dropped last: that is MPI's end.
    let Some((universe, level)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("error: MPI was started already: make Ranks::of a communicator");
        return ExitCode::FAILURE;
    };
    if level < Threading::Funneled {
        eprintln!("error: this MPI knows no threads, and drivers of GPUs have some");
        return ExitCode::FAILURE;
    }
    let ranks = match Ranks::of(&universe.world()) {
        Ok(ranks) => ranks,
        Err(error) => {
            eprintln!("error: {error}");
            transport::abort();
        }
    };
    match program(&ranks) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if ranks.size() == 1 => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        Err(error) => ranks.abort(&error),
    }
}

impl Ranks {
    /// One rank without others, for which MPI need not be started: batch norm as it is on one device.
    #[must_use]
    pub fn alone() -> Self {
        Self::new(None, 0, 1)
    }

    /// The ranks of a communicator: all of them call this. They get a duplicate of it, which stays until the job ends, so make them
    /// once.
    ///
    /// # Errors
    ///
    /// [`RanksError`] if not all come within five minutes, or if MPI reports an error.
    pub fn of(communicator: &impl Communicator) -> Result<Self, RanksError> {
        let (rank, size) = (communicator.rank() as usize, communicator.size() as usize);
        let transport = Transport::new(communicator, DEADLINE)
            .map_err(|failure| error_of(failure, rank, size, Call::Join, DEADLINE))?;
        Ok(Self::new(Some(transport), rank, size))
    }

    fn new(transport: Option<Transport>, rank: usize, size: usize) -> Self {
        let (deadline, spent, failed) = (DEADLINE.into(), Cell::default(), RefCell::default());
        Self(Rc::new(Inner { transport, rank, size, deadline, spent, failed }))
    }

    /// Sets how long this rank waits for the others in each call. Default five minutes. Each rank has its own.
    pub fn set_deadline(&self, deadline: Duration) {
        self.0.deadline.set(deadline);
    }

    /// The number of this rank, from 0.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.0.rank
    }

    /// How many there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// What all ranks have, in the order of the ranks. Each passes as many values.
    ///
    /// # Errors
    ///
    /// [`RanksError`], also if a rank passes another number of bytes or makes another call.
    pub fn gather<T: Pod>(&self, mine: &[T]) -> Result<Vec<T>, RanksError> {
        self.gather_for(Call::Gather, mine)
    }

    /// The sums of what all ranks have, each added up in float64 in the order of the ranks: the same bits on all.
    ///
    /// # Errors
    ///
    /// As [`Ranks::gather`].
    pub fn sum(&self, mine: &[f32]) -> Result<Vec<f64>, RanksError> {
        self.sum_for(Call::Sum, mine)
    }

    pub(crate) fn sum_for(&self, call: Call, mine: &[f32]) -> Result<Vec<f64>, RanksError> {
        let mut sums = vec![0.0; mine.len()];
        for (at, value) in self.gather_for(call, mine)?.into_iter().enumerate() {
            sums[at % mine.len()] += f64::from(value);
        }
        Ok(sums)
    }

    pub(crate) fn gather_for<T: Pod>(&self, call: Call, mine: &[T]) -> Result<Vec<T>, RanksError> {
        let (Some(transport), true) = (&self.0.transport, self.0.size > 1) else { return Ok(mine.to_vec()) };
        if let Some(error) = self.0.failed.borrow().clone() {
            return Err(error);
        }
        let found = self.agree(transport, call, size_of_val(mine) as u64).and_then(|()| {
            let started = Instant::now();
            self.exchange(transport, call, mine, started)
        });
        if let Err(error) = &found {
            *self.0.failed.borrow_mut() = Some(error.clone());
        }
        found
    }

    /// That all ranks make this call, with as many bytes: MPI would fill up with zeros, or worse.
    fn agree(&self, transport: &Transport, call: Call, bytes: u64) -> Result<(), RanksError> {
        let mine = [call.number(), bytes];
        let all = self.exchange(transport, call, &mine, Instant::now())?;
        match all.chunks_exact(2).zip(0..).find(|(theirs, _)| *theirs != mine) {
            None => Ok(()),
            Some((theirs, other)) => Err(RanksError::Mismatch {
                rank: self.rank(),
                ranks: self.size(),
                call,
                bytes,
                other,
                other_call: Call::of(theirs[0]),
                other_bytes: theirs[1],
            }),
        }
    }

    fn exchange<T: Pod>(
        &self,
        transport: &Transport,
        call: Call,
        mine: &[T],
        started: Instant,
    ) -> Result<Vec<T>, RanksError> {
        let limit = self.0.deadline.get();
        let found = transport.all_gather(self.size(), mine, limit);
        let Spent { messages, bytes, time } = self.0.spent.get();
        self.0.spent.set(Spent {
            messages: messages + 1,
            bytes: bytes + size_of_val(mine) as u64,
            time: time + started.elapsed(),
        });
        found.map_err(|failure| error_of(failure, self.rank(), self.size(), call, limit))
    }

    /// What this rank spent in MPI since the last call of this, or since the beginning.
    #[must_use]
    pub fn take_spent(&self) -> Spent {
        self.0.spent.take()
    }

    /// The engine for this rank: a GPU as [`Ranks::gpu`] chooses it if there is one that is not software, else the CPU. All ranks
    /// call this.
    ///
    /// # Errors
    ///
    /// [`RanksError`], and [`RunError`](wgpu_norm::RunError) if there is no device where one is asked for.
    pub fn engine(&self) -> Result<Engine, Error> {
        match self.one_of_several()? {
            Some(gpu) => Ok(gpu.into()),
            None => Ok(Engine::new_blocking()?),
        }
    }

    /// The GPU for this rank: on a machine with several, ranks take them in turn. Without any it is a software adapter, if there is one.
    /// All ranks call this. `WGPU_BACKEND` and `WGPU_ADAPTER_NAME` are honoured as by [`Gpu::new`].
    ///
    /// # Errors
    ///
    /// [`RanksError`], and [`RunError`](wgpu_norm::RunError) if there is no adapter, or it gives no device.
    pub fn gpu(&self) -> Result<Gpu, Error> {
        match self.one_of_several()? {
            Some(gpu) => Ok(gpu),
            None => Ok(Gpu::new_blocking()?),
        }
    }

    /// How many ranks before this one are on the same machine.
    fn local_number(&self) -> Result<usize, RanksError> {
        // Without MPI there is no one else.
        if self.size() == 1 {
            return Ok(0);
        }
        let mut mine = [0u8; 256];
        let name = mpi::environment::processor_name().unwrap_or_default();
        mine.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
        let all = self.gather_for(Call::Machines, &mine)?;
        Ok(all.chunks_exact(mine.len()).take(self.rank()).filter(|name| *name == mine).count())
    }

    /// This rank's own, where there are several GPUs to choose from.
    fn one_of_several(&self) -> Result<Option<Gpu>, Error> {
        let number = self.local_number()?;
        let adapters = hardware();
        let Some(adapter) = adapters.get(number % adapters.len().max(1)).filter(|_| adapters.len() > 1) else {
            return Ok(None);
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-norm-mpi"),
            required_features: features_for(adapter),
            required_limits: limits_for(adapter),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
            let (adapter, description) = (adapter.get_info().name, error.to_string());
            wgpu_norm::Error::from(wgpu_norm::RunError::NoDevice { adapter, description })
        })?;
        Ok(Some(Gpu::from_device(&device, &queue)))
    }

    /// Ends the job on all ranks, after `error` on standard error: for errors that the other ranks cannot know of.
    pub fn abort(&self, error: &dyn fmt::Display) -> ! {
        let said = error.to_string();
        let who = format!("rank {} of {}: ", self.rank(), self.size());
        // Errors of ranks say it by themselves.
        eprintln!("error: {}{said}", if said.starts_with(&who) { "" } else { &who });
        if transport::is_running() { transport::abort() } else { std::process::exit(1) }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let error = self.failed.get_mut().take();
        let panics = std::thread::panicking() && self.size > 1;
        if (error.is_none() && !panics) || !transport::is_running() {
            return;
        }
        match error {
            Some(error) => eprintln!("error: {error}"),
            None => eprintln!("error: rank {} of {} panicked", self.rank, self.size),
        }
        transport::abort();
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}

fn error_of(failure: Failure, rank: usize, ranks: usize, call: Call, after: Duration) -> RanksError {
    match failure {
        Failure::TimedOut => RanksError::TimedOut { rank, ranks, call, after },
        Failure::Mpi { code, text } => RanksError::Mpi { rank, ranks, call, code, text },
        Failure::TooLong { bytes } => RanksError::TooLong { rank, ranks, call, bytes },
    }
}

/// The GPUs of this machine, of the environment's choice, by the backend of the best: others may list the same once more.
fn hardware() -> Vec<wgpu::Adapter> {
    use wgpu::DeviceType::{DiscreteGpu, IntegratedGpu, VirtualGpu};
    let named = std::env::var("WGPU_ADAPTER_NAME").unwrap_or_default().to_lowercase();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let mut adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let place = |adapter: &wgpu::Adapter| {
        let order = [DiscreteGpu, IntegratedGpu, VirtualGpu];
        order.iter().position(|kind| *kind == adapter.get_info().device_type)
    };
    adapters.retain(|adapter| {
        let flags = adapter.get_downlevel_capabilities().flags;
        place(adapter).is_some()
            && flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && adapter.get_info().name.to_lowercase().contains(&named)
    });
    // Stable: those of one kind stay in order.
    adapters.sort_by_key(place);
    let best = adapters.first().map(|adapter| adapter.get_info());
    adapters.retain(|adapter| {
        let info = adapter.get_info();
        best.as_ref().is_some_and(|best| (info.backend, info.device_type) == (best.backend, best.device_type))
    });
    adapters
}
