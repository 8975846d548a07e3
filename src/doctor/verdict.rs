//! What the checks amount to: the table, and whether to trust the adapter.

use std::collections::HashSet;

use super::cases::Way;
use super::check::Check;
use crate::element::Element;
use crate::gpu::probe::Probe;
use crate::reference::TOLERANCE;

/// What to make of it all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) trusted: bool,
    pub(super) words: String,
}

/// How many failures are named one by one.
const NAMED: usize = 5;

/// `hidden` is whether plans hide subtractions here without having been told by a probe.
pub(super) fn judge(probe: &Probe, hidden: bool, checks: &[Check]) -> Verdict {
    let not = |words: String| Verdict { trusted: false, words };
    let failed: Vec<&Check> = checks.iter().filter(|check| !check.passed()).collect();
    let unsafe_rule = !hidden && !probe.keeps_subtractions();
    if !probe.keeps_hidden() {
        return not(format!(
            "Do not trust it: even arithmetic that is hidden from the compiler is not computed as written, and every norm \
             needs that.{}",
            list(&failed, checks.len())
        ));
    }
    if !probe.runs_loops() {
        return not(format!(
            "Do not trust it: an invocation stops after {} iterations, and large tensors need more.{}",
            probe.iterations.min(probe.iterations_of_two),
            list(&failed, checks.len())
        ));
    }
    if unsafe_rule && !failed.iter().any(|check| check.way == Way::Probed) {
        return not(format!(
            "Do not trust what Gpu::new and Context::new plan here: they take (x - shift) - delta for safe as it is written, \
             and it is not. Plans by the probe, as Gpu::probed and Capabilities::after make them, passed every check.{}",
            list(&failed, checks.len())
        ));
    }
    if !failed.is_empty() {
        let all = |kind: fn(&Check) -> bool| failed.iter().all(|check| kind(check));
        let advice = if all(|check| !check.data.is_finite()) {
            "Trust it with finite data only: NaN or infinities do not come out as in float64."
        } else if all(|check| check.data.scale().is_some()) {
            "Trust it with data of ordinary size only: values whose squares are no f32 do not come out as in float64."
        } else if all(|check| check.element() != Element::F32) {
            "Trust it with f32 only: tensors of f16 or bf16 do not come out as in float64."
        } else {
            "Do not trust it."
        };
        return not(format!("{advice}{}{}", list(&failed, checks.len()), unharmed(&failed, checks)));
    }
    if checks.is_empty() {
        return not("Do not trust it: nothing was checked.".to_owned());
    }
    Verdict {
        trusted: true,
        words: format!(
            "Trust it: in all {} checks, every norm and gradient was within {TOLERANCE:e} of float64.",
            checks.len()
        ),
    }
}

/// What failed, the worst first.
fn list(failed: &[&Check], all: usize) -> String {
    if failed.is_empty() {
        return String::new();
    }
    let mut worst = failed.to_vec();
    worst.sort_by(|a, b| b.size().total_cmp(&a.size()));
    let named: Vec<String> = worst.iter().take(NAMED).map(|check| check.text()).collect();
    let more = match failed.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(" {} of {all} checks failed: {}{more}.", failed.len(), named.join("; "))
}

/// Ways in which nothing failed, where that is not just for want of checks.
fn unharmed(failed: &[&Check], checks: &[Check]) -> String {
    let passed: Vec<&str> = Way::ALL
        .into_iter()
        .filter(|&way| checks.iter().any(|check| check.way == way))
        .filter(|&way| !failed.iter().any(|check| check.way == way))
        .map(Way::name)
        .collect();
    if passed.is_empty() { String::new() } else { format!(" Nothing failed {}.", passed.join(", ")) }
}

/// The worst error of each norm and of its gradients, a line each.
pub(super) fn summary(checks: &[Check]) -> String {
    let mut norms: Vec<&str> = checks.iter().map(Check::norm).collect();
    let mut seen = HashSet::new();
    norms.retain(|norm| seen.insert(*norm));
    let mut text = format!("{:21}{:>8}{:>11}\n", "largest error", "forward", "backward");
    for norm in norms {
        let of_norm = || checks.iter().filter(move |check| check.norm() == norm);
        let worst = |backward: bool| {
            let errors = of_norm().filter(|check| check.case.backward == backward).map(Check::size);
            errors.reduce(f64::max).map_or_else(|| "none".to_owned(), |error| format!("{error:.1e}"))
        };
        let verdict = if of_norm().all(Check::passed) { "ok" } else { "FAIL" };
        text.push_str(&format!("{norm:21}{:>8}{:>11}  {verdict}\n", worst(false), worst(true)));
    }
    text.push_str(&format!(
        "relative to the largest term, beyond f16's and bf16's own rounding; {TOLERANCE:e} is taken for rounding"
    ));
    text
}

/// A line for each case and plan: all its ways and data together.
struct Row {
    what: String,
    plan: String,
    checks: usize,
    error: f64,
    passed: bool,
}

/// The kernels that go over tensors: what merges their sums goes without saying, and makes lines long.
fn without_merges(plan: &str) -> String {
    let kernels: Vec<&str> = plan.split(", ").filter(|kernel| !kernel.starts_with("merge")).collect();
    kernels.join(", ")
}

/// The table, a line for each case and plan.
pub(super) fn table(checks: &[Check]) -> String {
    let mut rows: Vec<Row> = Vec::new();
    for check in checks {
        let what = check.case.name();
        let plan = without_merges(&check.plan);
        let known = rows.iter_mut().find(|row| row.what == what && row.plan == plan);
        match known {
            Some(row) => {
                row.checks += 1;
                row.error = row.error.max(check.size());
                row.passed &= check.passed();
            }
            None => rows.push(Row { what, plan, checks: 1, error: check.size(), passed: check.passed() }),
        }
    }
    let width = |text: fn(&Row) -> usize, least: usize| rows.iter().map(text).max().unwrap_or(0).max(least);
    let what = width(|row| row.what.len(), "what".len());
    let plan = width(|row| row.plan.len(), "plan".len());
    let mut text = format!("{:what$}  {:plan$}  checks  largest error\n", "what", "plan");
    for row in &rows {
        let verdict = if row.passed { "ok" } else { "FAIL" };
        let error = format!("{:.1e}", row.error);
        text.push_str(&format!("{:what$}  {:plan$}  {:>6}  {error:>13}  {verdict}\n", row.what, row.plan, row.checks));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::cases::{CASES, Data};
    use super::*;

    /// What this machine's probe found, made flawless; nothing but the library makes one.
    fn probe() -> Probe {
        let mut probe = crate::Gpu::new_blocking().and_then(|gpu| gpu.probe_blocking()).unwrap();
        (probe.plain_error, probe.hidden_error, probe.two_sum_error) = (0.0, 0.0, 0.0);
        probe
    }

    fn check(way: Way, data: Data, error: f64) -> Check {
        Check { case: &CASES[0], plan: "fused_rows".to_owned(), way, data, error: Ok(error) }
    }

    fn good() -> Vec<Check> {
        vec![check(Way::Planned, Data::Zero, 1e-7), check(Way::WithoutSubgroups, Data::FarMean, 4e-6)]
    }

    fn refused(verdict: &Verdict, words: &[&str]) {
        assert!(!verdict.trusted, "{verdict:?}");
        for word in words {
            assert!(verdict.words.contains(word), "no {word:?} in {verdict:?}");
        }
    }

    #[test]
    fn what_is_right_is_trusted() {
        let verdict = judge(&probe(), false, &good());
        assert!(verdict.trusted, "{verdict:?}");
        assert!(verdict.words.starts_with("Trust it: in all 2 checks"), "{verdict:?}");
        refused(&judge(&probe(), false, &[]), &["nothing was checked"]);
    }

    #[test]
    fn a_wrong_result_is_reported() {
        for error in [4.1e-6, 0.03, f64::INFINITY, f64::NAN] {
            let mut checks = good();
            checks.push(check(Way::Planned, Data::FarMean, error));
            let verdict = judge(&probe(), false, &checks);
            refused(
                &verdict,
                &["Do not trust it. 1 of 3", "700x31 (as planned, mean 1e6)", "Nothing failed without subgroups"],
            );
            assert!(table(&checks).contains("FAIL"));
        }
        let mut checks = good();
        checks.push(Check { error: Err("the device was lost".to_owned()), ..check(Way::Windows, Data::Zero, 0.0) });
        refused(&judge(&probe(), false, &checks), &["Do not", "in windows", "the device was lost"]);
        assert!(!table(&good()).contains("FAIL"));
    }

    #[test]
    fn the_worst_failures_are_named_and_the_others_counted() {
        let checks: Vec<Check> = (1..=9).map(|i| check(Way::Planned, Data::Zero, f64::from(i))).collect();
        let verdict = judge(&probe(), true, &checks);
        refused(&verdict, &["9 of 9 checks failed", "off by 9.0e0; ", "off by 5.0e0; and 4 more."]);
        assert!(!verdict.words.contains("off by 4.0e0"), "{verdict:?}");
    }

    #[test]
    fn wrong_with_nan_only_is_right_with_numbers() {
        let mut checks = good();
        checks.push(check(Way::Planned, Data::Nan, f64::INFINITY));
        refused(&judge(&probe(), true, &checks), &["Trust it with finite data only"]);
    }

    #[test]
    fn wrong_at_the_ends_of_the_range_is_right_with_ordinary_numbers() {
        let mut checks = good();
        checks.push(check(Way::Planned, Data::Huge, f64::INFINITY));
        checks.push(check(Way::Windows, Data::Tiny, 1.0));
        refused(&judge(&probe(), true, &checks), &["Trust it with data of ordinary size only", "scale 1e37"]);
        checks.push(check(Way::Planned, Data::Nan, f64::INFINITY));
        refused(&judge(&probe(), true, &checks), &["Do not trust it."]);
    }

    #[test]
    fn a_norm_has_its_worst_error() {
        let mut checks = good();
        let backward = CASES.iter().find(|case| case.backward && case.kind.word() == "layer").unwrap();
        checks.push(Check { case: backward, ..check(Way::Planned, Data::Zero, 2e-7) });
        let lines = |checks: &[Check]| summary(checks).lines().map(str::to_owned).collect::<Vec<_>>();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&lines(&good())[1]), ["layer", "4.0e-6", "none", "ok"]);
        assert_eq!(words(&lines(&checks)[1]), ["layer", "4.0e-6", "2.0e-7", "ok"]);
        checks.push(check(Way::Windows, Data::Zero, 0.5));
        assert_eq!(words(&lines(&checks)[1]), ["layer", "5.0e-1", "2.0e-7", "FAIL"]);
    }

    #[test]
    fn a_rule_that_the_probe_refutes_is_reported() {
        let mut probe = probe();
        probe.plain_error = 0.03;
        assert!(judge(&probe, true, &good()).trusted);
        let mut checks = good();
        checks.push(check(Way::Probed, Data::FarMean, 1e-7));
        refused(&judge(&probe, false, &checks), &["Gpu::new", "Gpu::probed", "passed every check"]);
        checks.push(check(Way::Probed, Data::FarMean, 1.0));
        refused(&judge(&probe, false, &checks), &["Do not trust it. 1 of 4"]);
        probe.two_sum_error = 0.01;
        refused(&judge(&probe, true, &good()), &["even arithmetic that is hidden"]);
        probe.two_sum_error = 0.0;
        probe.iterations_of_two = 1000;
        refused(&judge(&probe, true, &good()), &["stops after 1000 iterations"]);
    }

    #[test]
    fn wrong_with_16_bits_only_is_right_with_f32() {
        let mut checks = good();
        let short = CASES.iter().find(|case| case.element == Element::F16).unwrap();
        checks.push(Check { case: short, ..check(Way::Planned, Data::FarMean, 1.0) });
        refused(
            &judge(&probe(), true, &checks),
            &["Trust it with f32 only", "f16, rows, 33x768 (as planned, mean 1000)"],
        );
        checks.push(check(Way::Planned, Data::Zero, 1.0));
        refused(&judge(&probe(), true, &checks), &["Do not trust it."]);
    }

    /// Ways of one plan share a line, whatever it merges by.
    #[test]
    fn lines_are_cases_and_plans() {
        let mut checks = good();
        for plan in ["stats_rows, merge", "stats_rows"] {
            checks.push(Check { plan: plan.to_owned(), ..check(Way::Windows, Data::Zero, 1e-6) });
        }
        let table = table(&checks);
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(!table.contains("merge"), "{table}");
        let widths: Vec<usize> = table.lines().skip(1).map(str::len).collect();
        assert_eq!(widths[0], widths[1], "{table}");
    }
}
