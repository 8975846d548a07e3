//! Whether to trust the library on a GPU: [`Gpu::examine`] computes every norm and its gradients, in every layout and every
//! way they can be planned there, and compares them with the float64 [`reference`](crate::reference). What a shader computes
//! depends on the driver that compiles it, so ask on the machine the program runs on. The command `wgpu-norm doctor` is this
//! as a program, the package in the repository's `web/` as a page in a browser.

mod cases;
mod check;
mod compare;
mod own_buffers;
mod prepared;
mod verdict;

pub use check::Check;

use std::collections::HashSet;
use std::fmt;

use crate::element::Element;
use crate::error::{Error, SpecError};
use crate::gpu::Gpu;
use crate::gpu::plan::{Capabilities, Plan};
use crate::gpu::probe::Probe;
use cases::{CASES, Case, Data, Way};
use prepared::Prepared;
use verdict::Verdict;

/// The binding that tensors are cut to for [`Way::Windows`]: a row of 16,384 elements, wherever it starts.
const WINDOW_BYTES: u64 = (64 << 10) + 256;

/// What [`Gpu::examine`] found. Its `Display` is one screen: the GPU, what its arithmetic does, the worst error of each norm,
/// and in the last line the verdict. [`Report::table`] has more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The GPU, in a line, as [`Gpu::describe`] has it.
    pub gpu: String,
    /// What its arithmetic does.
    pub probe: Probe,
    /// Whether this `Gpu` plans such that subtractions are hidden from the compiler.
    pub hides_subtractions: bool,
    /// Every check, in the order of cases.
    pub checks: Vec<Check>,
    verdict: Verdict,
}

impl Report {
    /// Whether everything was right.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.verdict.trusted
    }

    /// Whether to trust it, what failed, and what to do about it: a paragraph.
    #[must_use]
    pub fn verdict(&self) -> &str {
        &self.verdict.words
    }

    /// Every case in every layout, a line each, and on what data and in which ways it was checked. What the command prints by
    /// `--verbose`.
    #[must_use]
    pub fn table(&self) -> String {
        let used: Vec<String> = Way::ALL
            .into_iter()
            .map(|way| (way, self.checks.iter().filter(|check| check.way == way).count()))
            .filter(|&(_, checks)| checks > 0)
            .map(|(way, checks)| format!("{} {checks}", way.name()))
            .collect();
        let mut data: Vec<&str> = self.checks.iter().map(Check::data).collect();
        let mut seen = HashSet::new();
        data.retain(|name| seen.insert(*name));
        let data = data.join(", ");
        format!("data: {data}\nchecks: {}\n\n{}", used.join(", "), verdict::table(&self.checks))
    }

    /// What the probe found, each with its name.
    fn facts(&self) -> [(&'static str, String); 8] {
        let probe = &self.probe;
        let kept = |error: f64, kept: bool| {
            let word = if kept { "as written" } else { "NOT as written" };
            format!("{word}: off by {error:.1e} std at mean 1e6")
        };
        let plain = kept(probe.plain_error, probe.keeps_subtractions());
        let rule = match (self.hides_subtractions, probe.keeps_subtractions()) {
            (true, _) => "; not relied on here",
            (false, true) => "; relied on here",
            (false, false) => "; and yet relied on here",
        };
        let wanted = Probe::ITERATIONS;
        let flushed = |flushed: bool| if flushed { "flushed to 0" } else { "kept" };
        [
            ("(x - shift) - delta", format!("{plain}{rule}")),
            ("the same, hidden", kept(probe.hidden_error, probe.keeps_hidden_subtractions())),
            ("centres that move", kept(probe.two_sum_error, probe.keeps_two_sums())),
            (
                "denormals",
                format!(
                    "operands {}, results {}; no norm depends on it",
                    flushed(probe.flushes_denormal_operands),
                    flushed(probe.flushes_denormal_results)
                ),
            ),
            (
                "a * b + c, to f16",
                format!(
                    "rounded {}, and {} by pack2x16float; no norm depends on it",
                    if probe.fuses_multiply_add { "once" } else { "twice" },
                    if probe.packs_exactly { "exactly" } else { "not exactly" }
                ),
            ),
            ("a / b, sqrt(a)", format!("off by at most {:.2} and {:.2} ulp", probe.division_ulp, probe.sqrt_ulp)),
            (
                "NaN, infinities",
                if probe.not_ieee.is_empty() {
                    "as IEEE 754 says".to_owned()
                } else {
                    format!("not as IEEE 754 says: {}; the checks tell if it matters", probe.not_ieee.join(", "))
                },
            ),
            (
                "loops",
                format!(
                    "{} of {wanted} iterations run, {} of 2 x {}; {}",
                    probe.iterations,
                    probe.iterations_of_two,
                    wanted / 2,
                    if probe.runs_loops() { "enough" } else { "NOT enough" }
                ),
            ),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.gpu)?;
        for (name, fact) in self.facts() {
            writeln!(f, "{name:21}{fact}")?;
        }
        writeln!(f, "\n{}", verdict::summary(&self.checks))?;
        writeln!(f, "\n{}", self.verdict())
    }
}

impl Gpu {
    /// Runs every norm and its gradients on this GPU and compares them with float64: some seconds, and more the first time,
    /// when the driver compiles some hundred shaders. `progress` is told how many bytes of `x` have been gone over, and how
    /// many there are in all.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), wgpu_norm::Error> {
    /// use wgpu_norm::Gpu;
    ///
    /// let report = Gpu::new_blocking()?.examine_blocking(|_, _| {})?;
    /// println!("{report}");
    /// assert!(report.is_trusted(), "{}", report.verdict());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Gpu::probe`]. What fails later is in the report.
    pub async fn examine(&self, mut progress: impl FnMut(u64, u64)) -> Result<Report, Error> {
        let probe = self.probe().await?;
        let ways = ways(self, &probe);
        let mut checks = Vec::new();
        let mut done = 0;
        let all = CASES.iter().map(Case::bytes).sum();
        progress(done, all);
        for case in &CASES {
            case.examine(&ways, &mut checks).await;
            done += case.bytes();
            progress(done, all);
        }
        let hides_subtractions = self.context().capabilities().reassociates;
        let verdict = verdict::judge(&probe, hides_subtractions, &checks);
        Ok(Report { gpu: self.describe(), probe, hides_subtractions, checks, verdict })
    }

    /// [`Gpu::examine`], blocking.
    ///
    /// # Errors
    ///
    /// As [`Gpu::examine`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn examine_blocking(&self, progress: impl FnMut(u64, u64)) -> Result<Report, Error> {
        pollster::block_on(self.examine(progress))
    }
}

/// The ways that differ on this device, each with what plans so; as planned comes first.
fn ways(gpu: &Gpu, probe: &Probe) -> Vec<(Way, Gpu)> {
    let capabilities = gpu.context().capabilities();
    let mut ways = vec![(Way::Planned, gpu.clone())];
    let mut add = |way: Way, changed: Capabilities| {
        if changed != *capabilities {
            ways.push((way, gpu.clone().with_capabilities(changed)));
        }
    };
    add(Way::Probed, capabilities.clone().after(probe));
    let mut without = capabilities.clone();
    without.subgroup_sizes = None;
    add(Way::WithoutSubgroups, without);
    let mut windows = capabilities.clone();
    windows.max_binding = windows.max_binding.min(WINDOW_BYTES);
    add(Way::Windows, windows);
    ways.push((Way::OutOfPlace, gpu.clone()));
    ways.push((Way::OverDy, gpu.clone()));
    ways.push((Way::Strided, gpu.clone()));
    ways
}

impl Case {
    fn bytes(&self) -> u64 {
        self.shape.iter().fold(self.element.size(), |bytes, &length| bytes * length as u64)
    }

    /// Every way in which it is computed differently.
    async fn examine(&'static self, ways: &[(Way, Gpu)], checks: &mut Vec<Check>) {
        let broken = |way: Way, error: String| Check {
            case: self,
            plan: String::new(),
            way,
            data: Data::Zero,
            error: Err(one_line(&error)),
        };
        let prepared: Vec<Prepared> = match self.data.iter().map(|&data| Prepared::new(self, data)).collect() {
            Ok(prepared) => prepared,
            Err(error) => return checks.push(broken(Way::Planned, SpecError::to_string(&error))),
        };
        let Some(first) = prepared.first() else { return };
        let mut planned: Option<Plan> = None;
        for (way, gpu) in ways {
            // Norms and gradients lie in one's own buffers each in a way of their own.
            if *way == if self.backward { Way::OutOfPlace } else { Way::OverDy } {
                continue;
            }
            // By what f16 is rounded changes no other type.
            let reassociates = |gpu: &Gpu| gpu.context().capabilities().reassociates;
            if *way == Way::Probed && self.element != Element::F16 && reassociates(gpu) == reassociates(&ways[0].1) {
                continue;
            }
            // No window holds a bias as long.
            if *way == Way::Windows && self.data.contains(&Data::Every) {
                continue;
            }
            let plan = match self.plan(gpu, first.norm.as_ref(), *way) {
                Ok(plan) => plan,
                // A row that no window holds.
                Err(_) if *way == Way::Windows => continue,
                Err(error) => {
                    checks.push(broken(*way, error.to_string()));
                    continue;
                }
            };
            let same = planned.as_ref().is_some_and(|planned| planned.passes() == plan.passes());
            if same && matches!(way, Way::WithoutSubgroups | Way::Windows) {
                continue;
            }
            for prepared in &prepared {
                // These differ by a binding, or by where elements lie: one kind of data will do.
                if matches!(way, Way::OutOfPlace | Way::Strided) && prepared.data != Data::FarMean {
                    continue;
                }
                let error = prepared.error(gpu, *way).await.map_err(|error| one_line(&error.to_string()));
                checks.push(Check { case: self, plan: kernels(&plan), way: *way, data: prepared.data, error });
            }
            planned.get_or_insert(plan);
        }
    }
}

fn kernels(plan: &Plan) -> String {
    plan.passes().iter().map(|pass| pass.name()).collect::<Vec<_>>().join(", ")
}

/// With every run of white space, line ends included, as one space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
