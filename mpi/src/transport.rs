//! MPI itself: an all-gather with a deadline, on a communicator of our own. All that is unsafe is here.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use bytemuck::Pod;
use mpi::ffi;
use mpi::traits::Communicator;

/// Why MPI did not do what it was asked for.
pub(crate) enum Failure {
    TimedOut,
    Mpi { code: c_int, text: String },
    TooLong { bytes: usize },
}

/// A duplicate of the user's communicator: what goes over it is in nobody's way, and its errors come back instead of ending the job.
///
/// It is never freed: that is for all ranks to do together, which one that fails cannot. There is one for all layers of a program.
pub(crate) struct Transport(ffi::MPI_Comm);

impl Transport {
    pub(crate) fn new(communicator: &impl Communicator, limit: Duration) -> Result<Self, Failure> {
        // MPI writes it when the request is done.
        let copy = Box::leak(Box::new(unsafe { ffi::RSMPI_COMM_NULL }));
        // SAFETY: the handle of a borrowed communicator is alive, and what is written to lives for ever.
        wait(limit, |request| unsafe { ffi::MPI_Comm_idup(communicator.as_raw(), copy, request) })?;
        // SAFETY: it was leaked above, and MPI is done with it.
        let copy = *unsafe { Box::from_raw(copy) };
        // SAFETY: the duplicate is alive from here on.
        check(unsafe { ffi::MPI_Comm_set_errhandler(copy, ffi::RSMPI_ERRORS_RETURN) })?;
        Ok(Self(copy))
    }

    /// All ranks' `mine`, in the order of the ranks. Every rank must pass as many.
    pub(crate) fn all_gather<T: Pod>(&self, ranks: usize, mine: &[T], limit: Duration) -> Result<Vec<T>, Failure> {
        let bytes = size_of_val(mine);
        let count = c_int::try_from(bytes).map_err(|_| Failure::TooLong { bytes })?;
        // MPI owns both until the request is done, which after a deadline it never is: then they stay leaked.
        let send = Box::leak(mine.to_vec().into_boxed_slice());
        let all = Box::leak(vec![T::zeroed(); mine.len() * ranks].into_boxed_slice());
        // SAFETY: `send` has `count` bytes, `all` as many for each rank, and both live for ever.
        wait(limit, |request| unsafe {
            let byte = ffi::RSMPI_UINT8_T;
            ffi::MPI_Iallgather(
                send.as_ptr().cast(),
                count,
                byte,
                all.as_mut_ptr().cast(),
                count,
                byte,
                self.0,
                request,
            )
        })?;
        // SAFETY: they were leaked above, and MPI is done with them.
        unsafe {
            drop(Box::from_raw(send));
            Ok(Box::from_raw(all).into_vec())
        }
    }
}

/// Ends all processes of the job.
pub(crate) fn abort() -> ! {
    // SAFETY: whoever has ranks has started MPI, and has not ended it.
    unsafe { ffi::MPI_Abort(ffi::RSMPI_COMM_WORLD, 1) };
    std::process::abort()
}

/// Whether MPI runs: it was started, and not ended.
pub(crate) fn is_running() -> bool {
    mpi::environment::is_initialized() && !mpi::environment::is_finalized()
}

/// Starts a request, and waits until it is done.
fn wait(limit: Duration, start: impl FnOnce(&mut ffi::MPI_Request) -> c_int) -> Result<(), Failure> {
    // SAFETY: a constant of MPI, which runs.
    let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
    let started = Instant::now();
    check(start(&mut request))?;
    for attempt in 0u64.. {
        let mut done = 0;
        // SAFETY: the request was started above, and is not done.
        check(unsafe { ffi::MPI_Test(&mut request, &mut done, ffi::RSMPI_STATUS_IGNORE) })?;
        if done != 0 {
            break;
        }
        if started.elapsed() > limit {
            return Err(Failure::TimedOut);
        }
        // Others may have fewer cores than ranks, and much to do.
        if attempt < 1000 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(50)) }
    }
    Ok(())
}

fn check(code: c_int) -> Result<(), Failure> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let (mut text, mut length) = ([0u8; ffi::MPI_MAX_ERROR_STRING as usize + 1], 0);
    // SAFETY: it has the room that MPI asks for.
    unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut length) };
    let text = text.get(..length as usize).unwrap_or_default();
    Err(Failure::Mpi { code, text: String::from_utf8_lossy(text).into_owned() })
}
