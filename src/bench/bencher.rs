//! Every case after the other, each beside the fastest copy of a tensor of its size.

use std::collections::HashMap;

use wgpu_norm::reference::TOLERANCE;
use wgpu_norm::{Plan, SpecError};

use super::copy::Copies;
use super::report::{Copy, Outcome, Report, Row, Speed};
use super::rounds::measure;
use super::{Case, Clock, Device, Effort, Subject, Tensors, Trouble};

/// Every case with its plan: what this device cannot run is known before anything is timed.
pub(crate) fn plan(device: &Device, cases: Vec<Case>) -> Result<Vec<(Case, Plan)>, SpecError> {
    cases.into_iter().map(|case| case.plan(&device.context).map(|plan| (case, plan))).collect()
}

/// Times them all. `next` is told of each case before it is timed, and how many have been.
pub(crate) fn run(
    device: &Device,
    effort: Effort,
    planned: &[(Case, Plan)],
    mut next: impl FnMut(usize, &Case),
) -> Result<Report, Trouble> {
    let copies = Copies::new(device)?;
    let mut bencher = Bencher { device, effort, copies, clock: None, fastest: HashMap::new(), told: Vec::new() };
    let mut cases = Vec::new();
    for (case, plan) in planned {
        next(cases.len(), case);
        cases.push(bencher.row(case, plan));
    }
    let method = bencher.clock.map_or_else(|| "nothing was timed".to_owned(), |clock| clock.method());
    let method = if device.trusting { format!("{method}, shaders unchecked") } else { method };
    Ok(Report::new(planned.first().map(|(case, _)| case), method, bencher.told, cases))
}

/// What the cases share.
struct Bencher<'a> {
    device: &'a Device,
    effort: Effort,
    copies: Copies,
    /// Made with the first case, on which it is tried.
    clock: Option<Clock<'a>>,
    /// The number of the kernel that copies fastest, for each size of a tensor.
    fastest: HashMap<u64, usize>,
    told: Vec<Copy>,
}

impl Bencher<'_> {
    /// What goes wrong with one case is said in its row.
    fn row(&mut self, case: &Case, plan: &Plan) -> Row {
        let mut error = None;
        let outcome = match self.time(case, plan, &mut error) {
            Ok(speed) => Outcome::Timed(speed),
            Err(trouble) => Outcome::failed(&trouble),
        };
        Row::new(case, plan, error, outcome)
    }

    fn time(&mut self, case: &Case, plan: &Plan, error: &mut Option<f64>) -> Result<Speed, Trouble> {
        let norm = case.norm().map_err(wgpu_norm::Error::from)?;
        let tensors = Tensors::new(case, &norm.parameter_shape());
        let mut subject = Subject::new(self.device, case, plan, &tensors)?;
        let off = subject.error(self.device, case, &tensors)?;
        *error = Some(off);
        // A wrong result is not worth timing.
        if off > TOLERANCE {
            return Err(Trouble::Wrong { error: off });
        }
        drop(tensors);
        let clock = match &mut self.clock {
            Some(clock) => clock,
            none => none.insert(Clock::new(self.device, &mut |pass, times| subject.record(pass, times))?),
        };
        let bytes = subject.ring.bytes;
        let fastest = match self.fastest.get(&bytes) {
            Some(&fastest) => fastest,
            None => {
                let Effort { trials, batch, .. } = self.effort;
                self.copies.fastest(self.device, clock, &subject.ring, trials, batch)?
            }
        };
        let mut copier = self.copies.copier(self.device, &subject.ring, fastest).ok_or(Trouble::NoCopy)?;
        copier.check(self.device, &subject.ring)?;
        if self.fastest.insert(bytes, fastest).is_none() {
            self.told.push(Copy { tensor_bytes: bytes, kernel: copier.kernel.clone() });
        }
        let measured = measure(clock, &mut subject, &mut copier, self.effort)?;
        Ok(Speed::new(plan.bytes_moved(), bytes, &measured, copier.kernel))
    }
}
