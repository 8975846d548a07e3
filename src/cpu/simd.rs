//! The loops over elements, each compiled for the instruction sets that a processor may have, and chosen when the program runs.
//!
//! Every function is written once, in plain Rust. Compilers vectorize it as wide as the instruction set allows, which changes no bit:
//! sums have `LANES` lanes whatever a register holds, nothing is reassociated, and a product and a sum are never fused.
//!
//! This is the only module of the engine with unsafe code: a function that is compiled for an instruction set may run only where
//! there is one, and stores that pass by the cache are intrinsics.
#![allow(unsafe_code)]
// Compilers vectorize loops over numbers of several tensors best.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::activation::{Function, Gelu, GeluTanh, Relu, Silu};
use crate::epilogue::Activation;

/// Lanes of a sum: the element at place `i` of a row goes to lane `i % LANES`.
pub(super) const LANES: usize = 32;

/// Elements of a row that are added up in f32. Each lane adds chains of 16, and then 16 chains: equal numbers round the same way every
/// time, and a longer chain would show.
pub(super) const SEGMENT: usize = LANES * CHAIN * CHAIN;

/// Numbers in one chain of additions.
pub(super) const CHAIN: usize = 16;

/// Elements of a row by whose mean it is centred first.
const HEAD: usize = 64;

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// That of the compilation target.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The widest there is.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("f16c") {
                let wide = has!("avx512f") && has!("avx512vl");
                return Self(if wide { Set::Avx512 } else { Set::Avx2 });
            }
        }
        Self::baseline()
    }

    /// For rows of which many are turned into a tile: AVX-512 takes up to a tenth longer for that than AVX2.
    pub(super) fn for_tiles(self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Set::Avx512 {
            return Self(Set::Avx2);
        }
        self
    }

    /// What the program was compiled for.
    pub(super) fn baseline() -> Self {
        Self(Set::Baseline)
    }

    pub(super) fn name(self) -> &'static str {
        match self.0 {
            Set::Baseline => "baseline",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "AVX-512",
        }
    }
}

/// Compiles functions for every instruction set.
macro_rules! for_every_set {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block)*) => {$(
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        pub(super) fn $name(level: Level, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            match level.0 {
                Set::Baseline => plain($($arg),*),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => {
                    #[target_feature(enable = "avx2")]
                    fn avx2($($arg: $ty),*) $(-> $ret)? {
                        plain($($arg),*)
                    }
                    // SAFETY: only `Level::detect` makes this level, where the processor has AVX2.
                    unsafe { avx2($($arg),*) }
                }
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => {
                    #[target_feature(enable = "avx2,avx512f,avx512vl")]
                    fn avx512($($arg: $ty),*) $(-> $ret)? {
                        plain($($arg),*)
                    }
                    // SAFETY: only `Level::detect` makes this level, where the processor has all three.
                    unsafe { avx512($($arg),*) }
                }
            }
        }
    )*};
}

/// Calls `$call::<$s>`, for short rows.
macro_rules! for_each_length {
    ($s:expr, $call:ident, ($($arg:expr),*)) => {
        match $s {
            1 => $call::<1>($($arg),*),
            2 => $call::<2>($($arg),*),
            3 => $call::<3>($($arg),*),
            4 => $call::<4>($($arg),*),
            5 => $call::<5>($($arg),*),
            6 => $call::<6>($($arg),*),
            7 => $call::<7>($($arg),*),
            8 => $call::<8>($($arg),*),
            9 => $call::<9>($($arg),*),
            10 => $call::<10>($($arg),*),
            11 => $call::<11>($($arg),*),
            12 => $call::<12>($($arg),*),
            13 => $call::<13>($($arg),*),
            14 => $call::<14>($($arg),*),
            15 => $call::<15>($($arg),*),
            _ => $call::<16>($($arg),*),
        }
    };
}

type Block = [f32; LANES];

/// What the elements of a row, or of many rows, are centred and scaled by.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Center {
    pub(super) scale: f32,
    pub(super) shift: f32,
    pub(super) delta: f32,
    /// What the centred element is multiplied by.
    pub(super) factor: f32,
}

/// The same for each column, side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Centers<'a> {
    /// None where all are 1.
    pub(super) scale: Option<&'a [f32]>,
    pub(super) shift: &'a [f32],
    pub(super) delta: &'a [f32],
    pub(super) factor: &'a [f32],
}

/// What the gradient of a group is made of, besides its elements: `dx = rstd * (g - mean - e * along)`, where `e` is the centred
/// element, and `g` is `dy` times `weight`.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Slope {
    pub(super) rstd: f32,
    pub(super) mean: f32,
    pub(super) along: f32,
    /// What `g` is multiplied by besides.
    pub(super) root: f32,
}

/// The same for each column, side by side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slopes<'a> {
    pub(super) rstd: &'a [f32],
    pub(super) mean: &'a [f32],
    pub(super) along: &'a [f32],
    pub(super) weight: &'a [f32],
}

/// What is added up of a centred element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Itself and its square.
    Both,
    /// Its square, and it is not centred.
    Square,
    /// Its magnitude, and it is not centred.
    Magnitude,
}

/// A number for each element: the same one, or each its own.
trait Lane: Copy {
    fn at(self, i: usize) -> f32;

    /// That of `n` elements, of which `at` is the first.
    fn part(self, at: usize, n: usize) -> Self;
}

#[derive(Clone, Copy)]
struct One(f32);

/// 1, which compilers know.
#[derive(Clone, Copy)]
struct Unit;

#[derive(Clone, Copy)]
struct Each<'a>(&'a [f32]);

impl Lane for One {
    #[inline(always)]
    fn at(self, _: usize) -> f32 {
        self.0
    }

    #[inline(always)]
    fn part(self, _: usize, _: usize) -> Self {
        self
    }
}

impl Lane for Unit {
    #[inline(always)]
    fn at(self, _: usize) -> f32 {
        1.0
    }

    #[inline(always)]
    fn part(self, _: usize, _: usize) -> Self {
        self
    }
}

impl Lane for Each<'_> {
    #[inline(always)]
    fn at(self, i: usize) -> f32 {
        self.0[i]
    }

    #[inline(always)]
    fn part(self, at: usize, n: usize) -> Self {
        Self(&self.0[at..at + n])
    }
}

/// The sum of all lanes, as a tree.
#[inline(always)]
fn fold(v: &Block) -> f32 {
    let mut eight = [0.0; 8];
    for i in 0..8 {
        eight[i] = (v[i] + v[i + 16]) + (v[i + 8] + v[i + 24]);
    }
    fold_eight(&eight)
}

/// A call of its own: where it is inlined, compilers shuffle lanes for longer than it takes.
#[inline(never)]
fn fold_eight(v: &[f32; 8]) -> f32 {
    let mut four = [0.0; 4];
    for i in 0..4 {
        four[i] = v[i] + v[i + 4];
    }
    (four[0] + four[2]) + (four[1] + four[3])
}

/// Runs `$step` with every block of `LANES` elements of `$x`, the last one filled up with `$fill`. A closure would not always be
/// inlined.
macro_rules! for_each_block {
    ($x:expr, $fill:expr, |$block:ident| $step:block) => {{
        let mut whole = $x.chunks_exact(LANES);
        for block in &mut whole {
            if let Some($block) = block.first_chunk::<LANES>() {
                $step
            }
        }
        let rest = whole.remainder();
        if !rest.is_empty() {
            let mut filled: Block = [$fill; LANES];
            filled[..rest.len()].copy_from_slice(rest);
            let $block = &filled;
            $step
        }
    }};
}

/// The mean of the first elements, found from their distances to the very first, so that equal ones are it exactly.
#[inline(always)]
fn head(x: &[f32]) -> f32 {
    let x = &x[..x.len().min(HEAD)];
    let Some(&first) = x.first() else { return 0.0 };
    let mut sum = [0.0; LANES];
    for_each_block!(x, first, |block| {
        for i in 0..LANES {
            sum[i] += block[i] - first;
        }
    });
    first + fold(&sum) / x.len() as f32
}

/// Two sums over `$n` elements as a tree that goes by their number alone, where `$chain` gives those of `$own`: at most a chain for each
/// lane. A closure would not always be inlined.
macro_rules! tree {
    ($n:expr, |$own:ident| $chain:expr) => {{
        let n = $n;
        let mut all = [0.0; 2];
        for start in (0..n).step_by(SEGMENT) {
            let end = n.min(start + SEGMENT);
            let mut sums: [Block; 2] = [[0.0; LANES]; 2];
            for start in (start..end).step_by(CHAIN * LANES) {
                let $own = start..end.min(start + CHAIN * LANES);
                let runs = $chain;
                for i in 0..LANES {
                    sums[0][i] += runs[0][i];
                    sums[1][i] += runs[1][i];
                }
            }
            all[0] += f64::from(fold(&sums[0]));
            all[1] += f64::from(fold(&sums[1]));
        }
        all
    }};
}

/// The sums of the distances from `shift` and of their squares; without `CENTERED` of squares, or of magnitudes, alone.
#[inline(always)]
fn sums<const CENTERED: bool, const SQUARED: bool>(x: &[f32], shift: f32) -> [f64; 2] {
    if x.len() <= CHAIN * LANES {
        let [sum1, sum2] = chain::<CENTERED, SQUARED>(x, shift);
        return [fold(&sum1).into(), fold(&sum2).into()];
    }
    tree!(x.len(), |own| chain::<CENTERED, SQUARED>(&x[own], shift))
}

/// The same, of at most a chain for each lane.
#[inline(always)]
fn chain<const CENTERED: bool, const SQUARED: bool>(x: &[f32], shift: f32) -> [Block; 2] {
    let mut runs: [Block; 2] = [[0.0; LANES]; 2];
    for_each_block!(x, if CENTERED { shift } else { 0.0 }, |block| {
        for i in 0..LANES {
            let e = if CENTERED { block[i] - shift } else { block[i] };
            if CENTERED {
                runs[0][i] += e;
            }
            runs[1][i] += if SQUARED { e * e } else { e.abs() };
        }
    });
    runs
}

/// The sums of one row, while `y` of another of the same length is written: memory then reads and writes at the same time.
#[inline(always)]
fn sums_beside<const CENTERED: bool, const SQUARED: bool>(
    next: &[f32],
    shift: f32,
    [x, weight, bias]: [&[f32]; 3],
    y: &mut [f32],
    center: Center,
    floor: f32,
) -> [f64; 2] {
    let n = next.len();
    let (x, weight, bias, y) = (&x[..n], &weight[..n], &bias[..n], &mut y[..n]);
    tree!(n, |own| {
        let of = [&x[own.clone()], &weight[own.clone()], &bias[own.clone()]];
        chain_beside::<CENTERED, SQUARED>(&next[own.clone()], shift, of, &mut y[own], center, floor)
    })
}

/// The same, of at most a chain for each lane.
#[inline(always)]
fn chain_beside<const CENTERED: bool, const SQUARED: bool>(
    next: &[f32],
    shift: f32,
    [x, weight, bias]: [&[f32]; 3],
    y: &mut [f32],
    center: Center,
    floor: f32,
) -> [Block; 2] {
    let Center { shift: mean, delta, factor, .. } = center;
    let mut runs: [Block; 2] = [[0.0; LANES]; 2];
    let whole = next.len() / LANES * LANES;
    let of = x.chunks_exact(LANES).zip(weight.chunks_exact(LANES)).zip(bias.chunks_exact(LANES));
    for ((next, y), ((x, weight), bias)) in next.chunks_exact(LANES).zip(y.chunks_exact_mut(LANES)).zip(of) {
        for i in 0..LANES {
            let e = if CENTERED { next[i] - shift } else { next[i] };
            if CENTERED {
                runs[0][i] += e;
            }
            runs[1][i] += if SQUARED { e * e } else { e.abs() };
            y[i] = at_least(floor, ((x[i] - mean) - delta) * factor * weight[i] + bias[i]);
        }
    }
    if whole < next.len() {
        let rest = chain::<CENTERED, SQUARED>(&next[whole..], shift);
        for i in 0..LANES {
            runs[0][i] += rest[0][i];
            runs[1][i] += rest[1][i];
        }
        let affine = (Each(&weight[whole..]), Each(&bias[whole..]), floor);
        normalize(Some(&x[whole..]), &mut y[whole..], (Unit, One(mean), One(delta), One(factor)), affine);
    }
    runs
}

/// The sums of a row: `sums` of distances from `shift`.
#[derive(Debug, Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Sums {
    pub(super) sums: [f64; 2],
    pub(super) shift: f64,
}

/// Larger sums have another scale.
const LARGE: f64 = (1u128 << 100) as f64;

/// Rows that are no longer than this are taken many at a time, each lane a row.
pub(super) const SHORT: usize = CHAIN;

/// As many short rows as there are lanes: element `s` of all rows is side by side.
type Tile = [Block; SHORT];

/// The sums of one row.
#[inline(always)]
fn sums_of(x: &[f32], measure: Measure) -> Sums {
    if x.len() <= SHORT {
        let mut tile = [[0.0; LANES]; SHORT];
        for (to, v) in tile.iter_mut().zip(x) {
            to[0] = *v;
        }
        let mut out = [Sums::default()];
        short_sums(&tile, x.len(), measure, &mut out);
        return out[0];
    }
    let (shift, sums) = match measure {
        Measure::Both => {
            let shift = head(x);
            (shift, sums::<true, true>(x, shift))
        }
        Measure::Square => (0.0, sums::<false, true>(x, 0.0)),
        Measure::Magnitude => (0.0, sums::<false, false>(x, 0.0)),
    };
    Sums { sums, shift: shift.into() }
}

/// The sums of short rows.
#[inline(always)]
fn short_sums(tile: &Tile, s: usize, measure: Measure, out: &mut [Sums]) {
    let (mut shift, mut run1, mut run2) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    let tile = &tile[..s.min(SHORT)];
    match measure {
        Measure::Both => {
            for of in tile {
                for i in 0..LANES {
                    run1[i] += of[i] - tile[0][i];
                }
            }
            for i in 0..LANES {
                shift[i] = tile[0][i] + run1[i] / s as f32;
                run1[i] = 0.0;
            }
            for of in tile {
                for i in 0..LANES {
                    let e = of[i] - shift[i];
                    run1[i] += e;
                    run2[i] += e * e;
                }
            }
        }
        Measure::Square => {
            for of in tile {
                for i in 0..LANES {
                    run2[i] += of[i] * of[i];
                }
            }
        }
        Measure::Magnitude => {
            for of in tile {
                for i in 0..LANES {
                    run2[i] += of[i].abs();
                }
            }
        }
    }
    for (i, out) in out.iter_mut().enumerate().take(LANES) {
        *out = Sums { sums: [run1[i].into(), run2[i].into()], shift: shift[i].into() };
    }
}

/// The centres of short rows.
#[inline(always)]
fn side_by_side(centers: &[Center]) -> [Block; 4] {
    let mut of = [[0.0; LANES]; 4];
    for (i, center) in centers.iter().enumerate().take(LANES) {
        (of[0][i], of[1][i], of[2][i], of[3][i]) = (center.scale, center.shift, center.delta, center.factor);
    }
    of
}

/// Turns rows of `s` elements into a tile.
#[inline(always)]
fn gather(x: &[f32], s: usize, tile: &mut Tile) {
    #[inline(always)]
    fn of<const S: usize>(x: &[f32], tile: &mut Tile) {
        for (row, x) in x.chunks_exact(S).enumerate().take(LANES) {
            for s in 0..S {
                tile[s][row] = x[s];
            }
        }
    }
    for_each_length!(s, of, (x, tile));
}

/// Turns a tile into rows of `s` elements.
#[inline(always)]
fn scatter(tile: &Tile, s: usize, y: &mut [f32]) {
    #[inline(always)]
    fn of<const S: usize>(tile: &Tile, y: &mut [f32]) {
        for (row, y) in y.chunks_exact_mut(S).enumerate().take(LANES) {
            for s in 0..S {
                y[s] = tile[s][row];
            }
        }
    }
    for_each_length!(s, of, (tile, y));
}

/// NaN stays so.
#[inline(always)]
fn at_least(floor: f32, y: f32) -> f32 {
    if y < floor { floor } else { y }
}

/// `y` of elements, at least `floor`.
#[inline(always)]
fn normalize<S: Lane, C: Lane, D: Lane, F: Lane, W: Lane, B: Lane>(
    x: Option<&[f32]>,
    y: &mut [f32],
    (scale, shift, delta, factor): (S, C, D, F),
    (weight, bias, floor): (W, B, f32),
) {
    let n = y.len();
    let (scale, shift, delta, factor) = (scale.part(0, n), shift.part(0, n), delta.part(0, n), factor.part(0, n));
    let (weight, bias) = (weight.part(0, n), bias.part(0, n));
    let one = |x: f32, i: usize| {
        let e = ((x * scale.at(i)) - shift.at(i)) - delta.at(i);
        at_least(floor, e * factor.at(i) * weight.at(i) + bias.at(i))
    };
    match x {
        Some(x) => {
            let x = &x[..n];
            for i in 0..n {
                y[i] = one(x[i], i);
            }
        }
        None => {
            for i in 0..n {
                y[i] = one(y[i], i);
            }
        }
    }
}

/// `y` of elements that share everything; the weight is in the factor.
#[inline(always)]
fn run(x: Option<&[f32]>, y: &mut [f32], center: Center, bias: f32, floor: f32) {
    let Center { scale, shift, delta, factor } = center;
    if scale == 1.0 {
        normalize(x, y, (Unit, One(shift), One(delta), One(factor)), (Unit, One(bias), floor));
    } else {
        normalize(x, y, (One(scale), One(shift), One(delta), One(factor)), (Unit, One(bias), floor));
    }
}

/// Where `dy`, and what is added to its gradient, are read: elsewhere, or where the result is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Source<'a> {
    Apart(&'a [f32]),
    Here,
}

impl Source<'_> {
    /// That of some elements.
    pub(super) fn part(&self, elements: Range<usize>) -> Self {
        match self {
            Self::Apart(values) => Self::Apart(&values[elements]),
            Self::Here => Self::Here,
        }
    }
}

/// Writes to `$dx` what `$one` makes of each element of `$dy`, and adds `$more`. A closure would not always be inlined.
macro_rules! differentiate {
    ($dy:expr, $more:expr, $dx:expr, |$d:ident, $i:ident| $one:expr) => {{
        let dx: &mut [f32] = $dx;
        let n = dx.len();
        match ($dy, $more) {
            (Source::Apart(dy), None) => {
                let dy = &dy[..n];
                for $i in 0..n {
                    let $d = dy[$i];
                    dx[$i] = $one;
                }
            }
            (Source::Apart(dy), Some(Source::Apart(more))) => {
                let (dy, more) = (&dy[..n], &more[..n]);
                for $i in 0..n {
                    let $d = dy[$i];
                    dx[$i] = $one + more[$i];
                }
            }
            (Source::Apart(dy), Some(Source::Here)) => {
                let dy = &dy[..n];
                for $i in 0..n {
                    let $d = dy[$i];
                    dx[$i] += $one;
                }
            }
            (Source::Here, Some(Source::Apart(more))) => {
                let more = &more[..n];
                for $i in 0..n {
                    let $d = dx[$i];
                    dx[$i] = $one + more[$i];
                }
            }
            (Source::Here, _) => {
                for $i in 0..n {
                    let $d = dx[$i];
                    dx[$i] = $one;
                }
            }
        }
    }};
}

/// The gradient of elements with this centre, weight and slope.
#[inline(always)]
fn gradient<S: Lane, C: Lane, W: Lane, O: Lane>(
    x: &[f32],
    (dy, more, dx): (Source<'_>, Option<Source<'_>>, &mut [f32]),
    (scale, shift, delta): (S, C, C),
    (root, weight): (O, W),
    (rstd, mean, along): (C, C, C),
) {
    let n = dx.len();
    let x = &x[..n];
    let (scale, shift, delta) = (scale.part(0, n), shift.part(0, n), delta.part(0, n));
    let (root, weight) = (root.part(0, n), weight.part(0, n));
    let (rstd, mean, along) = (rstd.part(0, n), mean.part(0, n), along.part(0, n));
    differentiate!(dy, more, dx, |dy, i| rstd.at(i)
        * ((dy * root.at(i) * weight.at(i) - mean.at(i))
            - (((x[i] * scale.at(i)) - shift.at(i)) - delta.at(i)) * along.at(i)));
}

/// What each element gives to the gradients of its bias and its weight, where that is asked for.
pub(super) type Given<'a> = Option<[&'a mut [f32]; 2]>;

/// The sums of `g` and of `g * xhat`.
#[inline(always)]
fn dots<S: Lane, W: Lane>(x: &[f32], dy: &[f32], scale: S, center: Center, weight: W, given: Given<'_>) -> [f64; 2] {
    match given {
        None => dot_chains::<_, _, false>(x, dy, scale, center, weight, [&mut [], &mut []]),
        Some(given) => dot_chains::<_, _, true>(x, dy, scale, center, weight, given),
    }
}

#[inline(always)]
fn dot_chains<S: Lane, W: Lane, const GIVES: bool>(
    x: &[f32],
    dy: &[f32],
    scale: S,
    center: Center,
    weight: W,
    [to_bias, to_weight]: [&mut [f32]; 2],
) -> [f64; 2] {
    let n = dy.len();
    if n <= CHAIN * LANES {
        let runs = dot_chain::<_, _, GIVES>(x, dy, scale, center, weight, [to_bias, to_weight]);
        return [fold(&runs[0]).into(), fold(&runs[1]).into()];
    }
    tree!(n, |own| {
        let weight = weight.part(own.start, own.len());
        let given = if GIVES { own.clone() } else { 0..0 };
        let given = [&mut to_bias[given.clone()], &mut to_weight[given]];
        dot_chain::<_, _, GIVES>(&x[own.clone()], &dy[own], scale, center, weight, given)
    })
}

/// The same, of at most a chain for each lane.
#[inline(always)]
fn dot_chain<S: Lane, W: Lane, const GIVES: bool>(
    x: &[f32],
    dy: &[f32],
    scale: S,
    center: Center,
    weight: W,
    [to_bias, to_weight]: [&mut [f32]; 2],
) -> [Block; 2] {
    let Center { shift, delta, factor, .. } = center;
    let (n, scale) = (dy.len(), scale.at(0));
    let mut runs: [Block; 2] = [[0.0; LANES]; 2];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let (x, dy, weight) = (&x[start..start + LANES], &dy[start..start + LANES], weight.part(start, LANES));
        let given = if GIVES { start..start + LANES } else { 0..0 };
        let (to_bias, to_weight) = (&mut to_bias[given.clone()], &mut to_weight[given]);
        for i in 0..LANES {
            let (g, xhat) = (dy[i] * weight.at(i), (((x[i] * scale) - shift) - delta) * factor);
            runs[0][i] += g;
            runs[1][i] += g * xhat;
            if GIVES {
                to_bias[i] += dy[i];
                to_weight[i] += dy[i] * xhat;
            }
        }
    }
    let rest = n - whole;
    if rest > 0 {
        // Filled up: lanes that are told apart only when the program runs would go through memory.
        let (mut filled, mut g) = ([0.0; LANES], [0.0; LANES]);
        filled[..rest].copy_from_slice(&x[whole..n]);
        for (i, g) in g.iter_mut().enumerate().take(rest) {
            *g = dy[whole + i] * weight.at(whole + i);
        }
        for i in 0..LANES {
            let product = g[i] * ((((filled[i] * scale) - shift) - delta) * factor);
            runs[0][i] += g[i];
            runs[1][i] += if i < rest { product } else { 0.0 };
        }
        for i in (whole..n).take(if GIVES { rest } else { 0 }) {
            to_bias[i] += dy[i];
            to_weight[i] += dy[i] * ((((x[i] * scale) - shift) - delta) * factor);
        }
    }
    runs
}

/// Adds what one row gives to the gradients of bias and weight.
#[inline(always)]
fn parameters(x: &[f32], dy: &[f32], center: Center, bias: &mut [f32], weight: &mut [f32]) {
    let Center { scale, shift, delta, factor } = center;
    let n = dy.len();
    let (x, bias, weight) = (&x[..n], &mut bias[..n], &mut weight[..n]);
    if scale == 1.0 {
        for i in 0..n {
            bias[i] += dy[i];
            weight[i] += dy[i] * (((x[i] - shift) - delta) * factor);
        }
    } else {
        for i in 0..n {
            bias[i] += dy[i];
            weight[i] += dy[i] * ((((x[i] * scale) - shift) - delta) * factor);
        }
    }
}

/// The same of `W` elements of each of some rows, in the order of the rows.
#[inline(always)]
fn parameter_strip<const W: usize>(
    column: usize,
    [x, dy]: [&[f32]; 2],
    centers: &[Center],
    [bias, weight]: &mut [&mut [f32]; 2],
) {
    let s = bias.len();
    let (Some(bias), Some(weight)) = (bias[column..].first_chunk_mut::<W>(), weight[column..].first_chunk_mut::<W>())
    else {
        return;
    };
    let (mut sum, mut product) = (*bias, *weight);
    for (row, center) in centers.iter().enumerate() {
        let Center { shift, delta, factor, .. } = *center;
        let at = row * s + column;
        let (x, dy) = (&x[at..at + W], &dy[at..at + W]);
        for i in 0..W {
            sum[i] += dy[i];
            product[i] += dy[i] * (((x[i] - shift) - delta) * factor);
        }
    }
    (*bias, *weight) = (sum, product);
}

/// Adds what `W` neighbouring columns give in each of some rows.
#[inline(always)]
fn strip<const W: usize>(rows: usize, sums: [&mut [f64]; 2], mut row: impl FnMut(usize, &mut [f32; W], &mut [f32; W])) {
    let (mut run1, mut run2) = ([0.0f32; W], [0.0f32; W]);
    for r in 0..rows {
        row(r, &mut run1, &mut run2);
    }
    let [sum1, sum2] = sums;
    for (sum, v) in sum1.iter_mut().zip(run1) {
        *sum += f64::from(v);
    }
    for (sum, v) in sum2.iter_mut().zip(run2) {
        *sum += f64::from(v);
    }
}

/// Calls `$strip::<W>(column)` for strips of columns that make up `$width`.
macro_rules! strips {
    ($width:expr, $strip:ident($($arg:expr),*)) => {{
        let (mut column, width) = (0, $width);
        while column + 32 <= width {
            $strip::<32>(column, $($arg),*);
            column += 32;
        }
        strips!(@rest column width $strip ($($arg),*) 16 8 4 2 1);
        let _ = column;
    }};
    (@rest $column:ident $width:ident $strip:ident $args:tt $($w:literal)*) => {
        $(strips!(@one $column $width $strip $args $w);)*
    };
    (@one $column:ident $width:ident $strip:ident ($($arg:expr),*) $w:literal) => {
        if $width - $column >= $w {
            $strip::<$w>($column, $($arg),*);
            $column += $w;
        }
    };
}

/// Calls `$call::<$function>`.
macro_rules! for_each_activation {
    ($activation:expr, $call:ident, ($($arg:expr),*)) => {
        match $activation {
            Activation::Relu => $call::<Relu>($($arg),*),
            Activation::Silu => $call::<Silu>($($arg),*),
            Activation::Gelu => $call::<Gelu>($($arg),*),
            Activation::GeluTanh => $call::<GeluTanh>($($arg),*),
        }
    };
}

/// The sums of one strip of columns over at most `CHAIN` rows.
#[inline(always)]
fn column_strip<const W: usize>(
    column: usize,
    x: &[f32],
    pitch: usize,
    shift: &[f32],
    measure: Measure,
    sums: &mut [&mut [f64]; 2],
) {
    let rows = x.len().div_ceil(pitch);
    let Some(shift) = shift[column..].first_chunk::<W>() else { return };
    let [sum1, sum2] = sums;
    let sums = [&mut sum1[column..column + W], &mut sum2[column..column + W]];
    let at = |r: usize| x[r * pitch + column..].first_chunk::<W>().unwrap_or(shift);
    match measure {
        Measure::Both => strip::<W>(rows, sums, |r, run1, run2| {
            let x = at(r);
            for i in 0..W {
                let e = x[i] - shift[i];
                run1[i] += e;
                run2[i] += e * e;
            }
        }),
        Measure::Square => strip::<W>(rows, sums, |r, _, run2| {
            let x = at(r);
            for i in 0..W {
                run2[i] += x[i] * x[i];
            }
        }),
        Measure::Magnitude => strip::<W>(rows, sums, |r, _, run2| {
            let x = at(r);
            for i in 0..W {
                run2[i] += x[i].abs();
            }
        }),
    }
}

/// The sums of `dy` and of `dy * xhat` of one strip of columns over at most `CHAIN` rows.
#[inline(always)]
fn column_dot_strip<const W: usize>(
    column: usize,
    [x, dy]: [&[f32]; 2],
    pitch: usize,
    centers: &Centers<'_>,
    sums: &mut [&mut [f64]; 2],
) {
    let part = |of: &'_ [f32]| of[column..].first_chunk::<W>().copied().unwrap_or([1.0; W]);
    let (shift, delta, factor) = (part(centers.shift), part(centers.delta), part(centers.factor));
    let scale = centers.scale.map(part);
    let [sum1, sum2] = sums;
    let sums = [&mut sum1[column..column + W], &mut sum2[column..column + W]];
    let none = [0.0; W];
    let rows = dy.len().div_ceil(pitch);
    let at = |of: &'_ [f32], r: usize| *of[r * pitch + column..].first_chunk::<W>().unwrap_or(&none);
    match scale {
        None => strip::<W>(rows, sums, |r, run1, run2| {
            let (x, dy) = (at(x, r), at(dy, r));
            for i in 0..W {
                run1[i] += dy[i];
                run2[i] += dy[i] * (((x[i] - shift[i]) - delta[i]) * factor[i]);
            }
        }),
        Some(scale) => strip::<W>(rows, sums, |r, run1, run2| {
            let (x, dy) = (at(x, r), at(dy, r));
            for i in 0..W {
                run1[i] += dy[i];
                run2[i] += dy[i] * ((((x[i] * scale[i]) - shift[i]) - delta[i]) * factor[i]);
            }
        }),
    }
}

/// Neighbouring columns whose sums along rows are kept apart.
const ALONG: usize = 16;

/// See `columns_of_rows_dots`: of `R` rows, whose columns' numbers are then read once.
#[inline(always)]
fn rows_along<S: Lane, const R: usize>(
    ([x, dy], pitch): ([&[f32]; 2], usize),
    (scale, shift, delta, factor): (S, &[f32], &[f32], &[f32]),
    weights: &[f32; R],
    [sum, product]: [&mut [f32]; 2],
    along: &mut [[f64; 2]],
) -> usize {
    let n = sum.len();
    let (x, dy): ([_; R], [_; R]) =
        (std::array::from_fn(|r| &x[r * pitch..][..n]), std::array::from_fn(|r| &dy[r * pitch..][..n]));
    let whole = n / ALONG * ALONG;
    for start in (0..whole).step_by(CHAIN * ALONG) {
        let mut runs = [[[0.0f32; ALONG]; 2]; R];
        for at in (start..whole.min(start + CHAIN * ALONG)).step_by(ALONG) {
            let part = |of: &[f32]| of[at..].first_chunk::<ALONG>().copied().unwrap_or([0.0; ALONG]);
            let (shift, delta, factor, scale) = (part(shift), part(delta), part(factor), scale.part(at, ALONG));
            let (mut of_sum, mut of_product) = (part(sum), part(product));
            for r in 0..R {
                let (x, dy, weight) = (part(x[r]), part(dy[r]), weights[r]);
                let [of_bias, of_weight] = &mut runs[r];
                for i in 0..ALONG {
                    let xhat = (((x[i] * scale.at(i)) - shift[i]) - delta[i]) * factor[i];
                    let g = dy[i] * weight;
                    of_sum[i] += g;
                    of_product[i] += g * xhat;
                    of_bias[i] += dy[i];
                    of_weight[i] += dy[i] * xhat;
                }
            }
            sum[at..at + ALONG].copy_from_slice(&of_sum);
            product[at..at + ALONG].copy_from_slice(&of_product);
        }
        for (along, runs) in along.iter_mut().zip(&runs) {
            for (along, run) in along.iter_mut().zip(runs) {
                *along += f64::from(fold_eight(&std::array::from_fn(|i| run[i] + run[i + 8])));
            }
        }
    }
    for (r, along) in along.iter_mut().enumerate().take(R) {
        for i in whole..n {
            let xhat = (((x[r][i] * scale.at(i)) - shift[i]) - delta[i]) * factor[i];
            let g = dy[r][i] * weights[r];
            sum[i] += g;
            product[i] += g * xhat;
            along[0] += f64::from(dy[r][i]);
            along[1] += f64::from(dy[r][i] * xhat);
        }
    }
    R
}

/// See `short_row_dots`.
#[inline(always)]
fn short_row<S: Lane>(
    (x, dy): (&[f32], &[f32]),
    (scale, shift, delta, factor): (S, &[f32], &[f32], &[f32]),
    first: usize,
    weights: &[f32],
    [sum, product]: [&mut [f64]; 2],
    [bias, weight]: [&mut [f64]; 2],
) {
    let (mut at, mut s) = (0, first);
    while at < dy.len() {
        let n = (weights.len() - s).min(dy.len() - at);
        let (x, dy, scale) = (&x[at..at + n], &dy[at..at + n], scale.part(at, n));
        let (shift, delta, factor) = (&shift[at..at + n], &delta[at..at + n], &factor[at..at + n]);
        let (sum, product) = (&mut sum[at..at + n], &mut product[at..at + n]);
        let (weights, bias, weight) = (&weights[s..s + n], &mut bias[s..s + n], &mut weight[s..s + n]);
        for i in 0..n {
            let xhat = (((x[i] * scale.at(i)) - shift[i]) - delta[i]) * factor[i];
            let (of_bias, of_weight) = (f64::from(dy[i]), f64::from(dy[i]) * f64::from(xhat));
            sum[i] += f64::from(weights[i]) * of_bias;
            product[i] += f64::from(weights[i]) * of_weight;
            bias[i] += of_bias;
            weight[i] += of_weight;
        }
        (at, s) = (at + n, 0);
    }
}

for_every_set! {
    /// The sums of `dy` and of `dy * xhat` of each weight of a row of columns that is short, or has several weights, of which that of the first
    /// column is number `first`; `g` and `g * xhat` are added to those down each column. In float64 from the first, as there is little of
    /// each.
    fn short_row_dots(
        x: &[f32], dy: &[f32], centers: Centers<'_>, first: usize, weights: &[f32], sum: &mut [f64], product: &mut [f64], bias: &mut [f64],
        weight: &mut [f64],
    ) {
        let Centers { scale, shift, delta, factor } = centers;
        let (down, along) = ([sum, product], [bias, weight]);
        match scale {
            None => short_row((x, dy), (Unit, shift, delta, factor), first, weights, down, along),
            Some(scale) => short_row((x, dy), (Each(scale), shift, delta, factor), first, weights, down, along),
        }
    }

    /// The sums of rows of `s` elements: of distances from the mean of their first elements and of squares of those, or of what
    /// else is measured.
    fn row_sums(x: &[f32], s: usize, measure: Measure, out: &mut [Sums]) {
        if s > SHORT {
            for (x, out) in x.chunks(s).zip(out) {
                *out = sums_of(x, measure);
            }
            return;
        }
        for (x, out) in x.chunks(s * LANES).zip(out.chunks_mut(LANES)) {
            let mut tile = [[0.0; LANES]; SHORT];
            gather(x, s, &mut tile);
            short_sums(&tile, s, measure, out);
        }
    }

    /// The same sums of one row, while `y` of another is written, of which `x`, weights and biases are given; its scale is 1.
    fn row_sums_beside(
        next: &[f32], measure: Measure, of: [&[f32]; 3], y: &mut [f32], center: Center, floor: f32,
    ) -> Sums {
        let (shift, sums) = match measure {
            Measure::Both => {
                let shift = head(next);
                (shift, sums_beside::<true, true>(next, shift, of, y, center, floor))
            }
            Measure::Square => (0.0, sums_beside::<false, true>(next, 0.0, of, y, center, floor)),
            Measure::Magnitude => (0.0, sums_beside::<false, false>(next, 0.0, of, y, center, floor)),
        };
        Sums { sums, shift: shift.into() }
    }

    /// The same sums, of distances from a given number.
    fn row_sums_around(x: &[f32], shift: f32) -> [f64; 2] {
        sums::<true, true>(x, shift)
    }

    /// Adds the sums of each of the first columns of `x`, whose rows are `pitch` apart, to `sum1` and `sum2`.
    fn column_sums(x: &[f32], pitch: usize, shift: &[f32], measure: Measure, sum1: &mut [f64], sum2: &mut [f64]) {
        let mut sums = [sum1, sum2];
        for run in x.chunks(CHAIN * pitch) {
            strips!(shift.len(), column_strip(run, pitch, shift, measure, &mut sums));
        }
    }

    /// `y` of one row, at least `floor`, with a weight and a bias for each element; `x` is `y` where none is given.
    fn normalize_row(x: Option<&[f32]>, y: &mut [f32], center: Center, weight: &[f32], bias: &[f32], floor: f32) {
        let Center { scale, shift, delta, factor } = center;
        let affine = (Each(weight), Each(bias), floor);
        if scale == 1.0 {
            normalize(x, y, (Unit, One(shift), One(delta), One(factor)), affine);
        } else {
            normalize(x, y, (One(scale), One(shift), One(delta), One(factor)), affine);
        }
    }

    /// What rows are normalized by, where their sums are exact enough and nothing is out of the ordinary; else false. It is what
    /// `Rules::settled` and `Rules::statistics` say of each, for many at a time.
    fn ordinary_centers(sums: &[Sums], count: f64, centered: bool, eps: f64, least: f64, centers: &mut [Center]) -> bool {
        let mut ordinary = true;
        for (Sums { sums: [sum1, sum2], shift }, center) in sums.iter().zip(centers) {
            let (sum1, shift) = if centered { (*sum1, *shift) } else { (0.0, 0.0) };
            let of_mean = sum1 * sum1 / count;
            let (sum, mean) = (sum2 - of_mean, shift + sum1 / count);
            let rounded = mean as f32;
            ordinary &= (of_mean <= sum2 * 0.25) & (sum >= count * least) & (sum <= LARGE) & (mean.abs() <= LARGE);
            let rstd = 1.0 / (sum / count + eps).sqrt();
            let delta = (mean - f64::from(rounded)) as f32;
            *center = Center { scale: 1.0, shift: rounded, delta, factor: rstd as f32 };
        }
        ordinary
    }

    /// `y` of rows with the same weights and biases; `x` is `y` where none is given.
    fn normalize_rows(
        x: Option<&[f32]>, y: &mut [f32], centers: &[Center], weight: &[f32], bias: &[f32], floor: f32,
    ) {
        let s = weight.len();
        if s > SHORT || centers.iter().any(|center| center.scale != 1.0) {
            for (row, (y, center)) in y.chunks_mut(s).zip(centers).enumerate() {
                let Center { scale, shift, delta, factor } = *center;
                let x = x.map(|x| &x[row * s..(row + 1) * s]);
                let affine = (Each(weight), Each(bias), floor);
                if scale == 1.0 {
                    normalize(x, y, (Unit, One(shift), One(delta), One(factor)), affine);
                } else {
                    normalize(x, y, (One(scale), One(shift), One(delta), One(factor)), affine);
                }
            }
            return;
        }
        for (number, (y, centers)) in y.chunks_mut(s * LANES).zip(centers.chunks(LANES)).enumerate() {
            let mut tile = [[0.0; LANES]; SHORT];
            gather(x.map_or(&*y, |x| &x[number * s * LANES..][..y.len()]), s, &mut tile);
            let [_, shift, delta, factor] = side_by_side(centers);
            for ((of, weight), bias) in tile.iter_mut().zip(weight).zip(bias) {
                for i in 0..LANES {
                    of[i] = at_least(floor, ((of[i] - shift[i]) - delta[i]) * factor[i] * weight + bias);
                }
            }
            scatter(&tile, s, y);
        }
    }

    /// `y` of rows of `s` elements, each with its own weight and bias; weights are in the factors.
    fn normalize_runs(x: Option<&[f32]>, y: &mut [f32], s: usize, centers: &[Center], bias: &[f32], floor: f32) {
        if s > SHORT || centers.iter().any(|center| center.scale != 1.0) {
            for (row, ((y, center), bias)) in y.chunks_mut(s).zip(centers).zip(bias).enumerate() {
                let x = x.map(|x| &x[row * s..(row + 1) * s]);
                run(x, y, *center, *bias, floor);
            }
            return;
        }
        let rows = centers.chunks(LANES).zip(bias.chunks(LANES));
        for (number, (y, (centers, given))) in y.chunks_mut(s * LANES).zip(rows).enumerate() {
            let mut tile = [[0.0; LANES]; SHORT];
            gather(x.map_or(&*y, |x| &x[number * s * LANES..][..y.len()]), s, &mut tile);
            let [_, shift, delta, factor] = side_by_side(centers);
            let mut bias = [0.0; LANES];
            bias[..given.len()].copy_from_slice(given);
            for of in tile.iter_mut().take(s) {
                for i in 0..LANES {
                    of[i] = at_least(floor, ((of[i] - shift[i]) - delta[i]) * factor[i] + bias[i]);
                }
            }
            scatter(&tile, s, y);
        }
    }

    /// `y` of elements that share everything; the weight is in the factor.
    fn normalize_run(x: Option<&[f32]>, y: &mut [f32], center: Center, bias: f32, floor: f32) {
        run(x, y, center, bias, floor);
    }

    /// `y` of a row of columns, each with its own of everything; weights are in the factors.
    fn normalize_columns(x: Option<&[f32]>, y: &mut [f32], centers: Centers<'_>, bias: &[f32], floor: f32) {
        let Centers { scale, shift, delta, factor } = centers;
        let affine = (Unit, Each(bias), floor);
        match scale {
            None => normalize(x, y, (Unit, Each(shift), Each(delta), Each(factor)), affine),
            Some(scale) => normalize(x, y, (Each(scale), Each(shift), Each(delta), Each(factor)), affine),
        }
    }

    /// The same of a row whose elements share weight and bias.
    fn normalize_columns_of_row(
        x: Option<&[f32]>, y: &mut [f32], centers: Centers<'_>, weight: f32, bias: f32, floor: f32,
    ) {
        let Centers { scale, shift, delta, factor } = centers;
        let affine = (One(weight), One(bias), floor);
        match scale {
            None => normalize(x, y, (Unit, Each(shift), Each(delta), Each(factor)), affine),
            Some(scale) => normalize(x, y, (Each(scale), Each(shift), Each(delta), Each(factor)), affine),
        }
    }

    /// What an activation makes of `y`.
    fn activate(activation: Activation, y: &mut [f32]) {
        #[inline(always)]
        fn each<F: Function>(y: &mut [f32]) {
            for y in y {
                *y = F::value(*y);
            }
        }
        for_each_activation!(activation, each, (y));
    }

    /// The gradient of `y`, from that of what an activation made of it.
    fn pass_back(activation: Activation, dy: &mut [f32], y: &[f32]) {
        #[inline(always)]
        fn each<F: Function>(dy: &mut [f32], y: &[f32]) {
            for (dy, y) in dy.iter_mut().zip(y) {
                *dy = F::gradient(*dy, *y);
            }
        }
        for_each_activation!(activation, each, (dy, y));
    }

    /// Takes bf16 to f32.
    fn widen_bf16(from: &[u16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(*from) << 16);
        }
    }

    /// Rounds to bf16.
    fn narrow_bf16(from: &[f32], to: &mut [u16]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = to_bf16(*from);
        }
    }

    fn widen_f16_by_integers(from: &[u16], to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = of_f16(*from);
        }
    }

    fn narrow_f16_by_integers(from: &[f32], to: &mut [u16]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = to_f16(*from);
        }
    }

    /// The sum of two tensors.
    fn add(x: &[f32], other: &[f32], sum: &mut [f32]) {
        for ((sum, x), other) in sum.iter_mut().zip(x).zip(other) {
            *sum = x + other;
        }
    }

    /// Adds to each element of a tensor.
    fn add_to(sum: &mut [f32], other: &[f32]) {
        for (sum, other) in sum.iter_mut().zip(other) {
            *sum += other;
        }
    }

    /// The sums of `dy` and of `dy * xhat` over one row.
    fn row_dots(x: &[f32], dy: &[f32], center: Center) -> [f64; 2] {
        if center.scale == 1.0 {
            dots(x, dy, Unit, center, Unit, None)
        } else {
            dots(x, dy, One(center.scale), center, Unit, None)
        }
    }

    /// The sums of `g = dy * weight` and of `g * xhat` over one row, whose elements each have a weight; what they give to it, and to
    /// its bias, is added.
    fn row_gradients(x: &[f32], dy: &[f32], center: Center, weight: &[f32], given: Given<'_>) -> [f64; 2] {
        if center.scale == 1.0 {
            dots(x, dy, Unit, center, Each(weight), given)
        } else {
            dots(x, dy, One(center.scale), center, Each(weight), given)
        }
    }

    /// The same of rows with the same weights, for each its own.
    fn rows_dots(x: &[f32], dy: &[f32], centers: &[Center], weight: &[f32], out: &mut [[f64; 2]]) {
        let s = weight.len();
        // Whatever the scales: the order of a row's sums may not depend on those of other rows.
        if s > SHORT {
            for (((x, dy), center), out) in x.chunks(s).zip(dy.chunks(s)).zip(centers).zip(out) {
                *out = if center.scale == 1.0 {
                    dots(x, dy, Unit, *center, Each(weight), None)
                } else {
                    dots(x, dy, One(center.scale), *center, Each(weight), None)
                };
            }
            return;
        }
        let (xs, dys) = (x.chunks(s * LANES), dy.chunks(s * LANES));
        for (((x, dy), centers), out) in xs.zip(dys).zip(centers.chunks(LANES)).zip(out.chunks_mut(LANES)) {
            let mut tiles = [[[0.0; LANES]; SHORT]; 2];
            gather(x, s, &mut tiles[0]);
            gather(dy, s, &mut tiles[1]);
            let [scale, shift, delta, factor] = side_by_side(centers);
            let (mut run1, mut run2) = ([0.0; LANES], [0.0; LANES]);
            for ((x, dy), weight) in tiles[0].iter().zip(&tiles[1]).zip(weight) {
                for i in 0..LANES {
                    let g = dy[i] * weight;
                    run1[i] += g;
                    run2[i] += g * (((x[i] * scale[i] - shift[i]) - delta[i]) * factor[i]);
                }
            }
            for (i, out) in out.iter_mut().enumerate().take(LANES) {
                *out = [run1[i].into(), run2[i].into()];
            }
        }
    }

    /// `dx` of rows with the same weights.
    fn gradient_rows(
        x: &[f32], dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], centers: &[Center], slopes: &[Slope], weight: &[f32],
    ) {
        let s = weight.len();
        let plain = matches!((dy, more), (Source::Apart(_), None));
        if s > SHORT || !plain || centers.iter().any(|center| center.scale != 1.0) {
            for (row, ((dx, center), slope)) in dx.chunks_mut(s).zip(centers).zip(slopes).enumerate() {
                let own = row * s..(row + 1) * s;
                let (dy, more) = (dy.part(own.clone()), more.map(|more| more.part(own.clone())));
                let (shift, delta) = (One(center.shift), One(center.delta));
                let slopes = (One(slope.rstd), One(slope.mean), One(slope.along));
                if center.scale == 1.0 && slope.root == 1.0 {
                    gradient(&x[own], (dy, more, dx), (Unit, shift, delta), (Unit, Each(weight)), slopes);
                } else {
                    let center = (One(center.scale), shift, delta);
                    gradient(&x[own], (dy, more, dx), center, (One(slope.root), Each(weight)), slopes);
                }
            }
            return;
        }
        let Source::Apart(dy) = dy else { return };
        let (xs, dys) = (x.chunks(s * LANES), dy.chunks(s * LANES));
        for (number, ((x, dy), dx)) in xs.zip(dys).zip(dx.chunks_mut(s * LANES)).enumerate() {
            let own = number * LANES..centers.len().min((number + 1) * LANES);
            let mut tiles = [[[0.0; LANES]; SHORT]; 2];
            gather(x, s, &mut tiles[0]);
            gather(dy, s, &mut tiles[1]);
            let [_, shift, delta, _] = side_by_side(&centers[own.clone()]);
            let [mut rstd, mut mean, mut along, mut root] = [[0.0; LANES]; 4];
            for (i, slope) in slopes[own].iter().enumerate() {
                (rstd[i], mean[i], along[i], root[i]) = (slope.rstd, slope.mean, slope.along, slope.root);
            }
            let [of_x, of_dy] = &mut tiles;
            for ((x, dy), weight) in of_x.iter_mut().zip(of_dy).zip(weight) {
                for i in 0..LANES {
                    let e = (x[i] - shift[i]) - delta[i];
                    x[i] = rstd[i] * ((dy[i] * root[i] * weight - mean[i]) - e * along[i]);
                }
            }
            scatter(of_x, s, dx);
        }
    }

    /// Adds the sums of `dy` and of `dy * xhat` of each of the first columns, whose rows are `pitch` apart, to `sum1` and `sum2`.
    fn column_dots(x: &[f32], dy: &[f32], pitch: usize, centers: Centers<'_>, sum1: &mut [f64], sum2: &mut [f64]) {
        let mut sums = [sum1, sum2];
        for (x, dy) in x.chunks(CHAIN * pitch).zip(dy.chunks(CHAIN * pitch)) {
            strips!(centers.shift.len(), column_dot_strip([x, dy], pitch, &centers, &mut sums));
        }
    }

    /// The sums of `dy` and of `dy * xhat` along each of some rows of columns, which are `pitch` apart and have these weights; `g` and
    /// `g * xhat` are added to those down each column.
    fn columns_of_rows_dots(
        x: &[f32], dy: &[f32], pitch: usize, centers: Centers<'_>, weights: &[f32], sum: &mut [f32], product: &mut [f32],
        along: &mut [[f64; 2]],
    ) {
        let Centers { scale, shift, delta, factor } = centers;
        let mut row = 0;
        while row < weights.len() {
            let of = [&x[row * pitch..], &dy[row * pitch..]];
            let down = [&mut *sum, &mut *product];
            row += match (weights[row..].first_chunk::<4>(), scale) {
                (Some(weights), None) => rows_along((of, pitch), (Unit, shift, delta, factor), weights, down, &mut along[row..]),
                (Some(weights), Some(scale)) => {
                    rows_along((of, pitch), (Each(scale), shift, delta, factor), weights, down, &mut along[row..])
                }
                (None, None) => rows_along((of, pitch), (Unit, shift, delta, factor), &[weights[row]], down, &mut along[row..]),
                (None, Some(scale)) => {
                    rows_along((of, pitch), (Each(scale), shift, delta, factor), &[weights[row]], down, &mut along[row..])
                }
            };
        }
    }

    /// Adds what rows that share them give to the gradients of bias and weight.
    fn rows_parameters(x: &[f32], dy: &[f32], centers: &[Center], bias: &mut [f32], weight: &mut [f32]) {
        let s = bias.len();
        if centers.iter().all(|center| center.scale == 1.0) {
            strips!(s, parameter_strip([x, dy], centers, &mut [bias, weight]));
            return;
        }
        for ((x, dy), center) in x.chunks(s).zip(dy.chunks(s)).zip(centers) {
            parameters(x, dy, *center, bias, weight);
        }
    }

    /// Adds sums of a few rows to those of many, and begins anew.
    fn carry(run: &mut [f32], sum: &mut [f64]) {
        for (run, sum) in run.iter_mut().zip(sum) {
            *sum += f64::from(*run);
            *run = 0.0;
        }
    }

    /// `dx` of one row, with a weight for each element.
    fn gradient_row(
        x: &[f32], dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], center: Center, weight: &[f32], slope: Slope,
    ) {
        let Center { scale, shift, delta, .. } = center;
        let slopes = (One(slope.rstd), One(slope.mean), One(slope.along));
        let (shift, delta, weight) = (One(shift), One(delta), Each(weight));
        if scale == 1.0 {
            gradient(x, (dy, more, dx), (Unit, shift, delta), (Unit, weight), slopes);
        } else {
            gradient(x, (dy, more, dx), (One(scale), shift, delta), (One(slope.root), weight), slopes);
        }
    }

    /// `dx` of elements that share everything; `root` is in the weight.
    fn gradient_run(
        x: &[f32], dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], center: Center, weight: f32, slope: Slope,
    ) {
        let Center { scale, shift, delta, .. } = center;
        let slopes = (One(slope.rstd), One(slope.mean), One(slope.along));
        let (shift, delta, weight) = (One(shift), One(delta), One(weight));
        if scale == 1.0 {
            gradient(x, (dy, more, dx), (Unit, shift, delta), (Unit, weight), slopes);
        } else {
            gradient(x, (dy, more, dx), (One(scale), shift, delta), (Unit, weight), slopes);
        }
    }

    /// `dx` of a row of columns, each with its own of everything; `root` is in the weights.
    fn gradient_columns(
        x: &[f32], dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], centers: Centers<'_>, slopes: Slopes<'_>,
    ) {
        let Centers { scale, shift, delta, .. } = centers;
        let (shift, delta, weight) = (Each(shift), Each(delta), Each(slopes.weight));
        let slopes = (Each(slopes.rstd), Each(slopes.mean), Each(slopes.along));
        match scale {
            None => gradient(x, (dy, more, dx), (Unit, shift, delta), (Unit, weight), slopes),
            Some(scale) => {
                gradient(x, (dy, more, dx), (Each(scale), shift, delta), (Unit, weight), slopes);
            }
        }
    }

    /// The same of a row that has this weight; the `weight` of a column is its root alone.
    fn gradient_columns_of_row(
        x: &[f32], dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], centers: Centers<'_>, slopes: Slopes<'_>, weight: f32,
    ) {
        let Centers { scale, shift, delta, .. } = centers;
        let (shift, delta, root, weight) = (Each(shift), Each(delta), Each(slopes.weight), One(weight));
        let slopes = (Each(slopes.rstd), Each(slopes.mean), Each(slopes.along));
        match scale {
            None => gradient(x, (dy, more, dx), (Unit, shift, delta), (Unit, weight), slopes),
            Some(scale) => gradient(x, (dy, more, dx), (Each(scale), shift, delta), (root, weight), slopes),
        }
    }

    /// `dx = dy * factor`, where no gradient goes through statistics.
    fn scale_run(dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], factor: f32) {
        differentiate!(dy, more, dx, |dy, i| dy * factor);
    }

    /// The same, with a factor for each element.
    fn scale_columns(dy: Source<'_>, more: Option<Source<'_>>, dx: &mut [f32], factor: &[f32]) {
        let factor = &factor[..dx.len()];
        differentiate!(dy, more, dx, |dy, i| dy * factor[i]);
    }
}

/// The f32 of an f16, as `half` and processors have it.
#[inline(always)]
fn of_f16(bits: u16) -> f32 {
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let normal = (magnitude << 13) + (112 << 23);
    // Infinity, and NaN, which is quiet then.
    let quiet = if magnitude > 0x7c00 { 0x0040_0000 } else { 0 };
    let wide = if magnitude >= 0x7c00 { (normal + (112 << 23)) | quiet } else { normal };
    // A denormal is an integer times the least of them.
    let small = f32::from_bits((magnitude << 13) + (113 << 23)) - f32::from_bits(113 << 23);
    f32::from_bits(sign | if magnitude < 0x0400 { small.to_bits() } else { wide })
}

/// The nearest f16, ties to even.
#[inline(always)]
fn to_f16(v: f32) -> u16 {
    let (sign, magnitude) = ((v.to_bits() >> 16) as u16 & 0x8000, v.to_bits() & 0x7fff_ffff);
    let odd = magnitude >> 13 & 1;
    let normal = (magnitude.wrapping_sub(112 << 23).wrapping_add(0x0fff + odd) >> 13).min(0x7c00);
    // The sum with 0.5 is rounded where denormals end.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let number = if magnitude < 0x3880_0000 { small } else { normal };
    let bits = if magnitude > 0x7f80_0000 { 0x7e00 | magnitude >> 13 & 0x03ff } else { number };
    sign | bits as u16
}

/// The nearest bf16, ties to even.
#[inline(always)]
fn to_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    (if v.is_nan() { bits >> 16 | 0x0040 } else { nearest }) as u16
}

/// Takes f16 to f32.
pub(super) fn widen_f16(level: Level, from: &[u16], to: &mut [f32]) {
    match level.0 {
        Set::Baseline => widen_f16_by_integers(level, from, to),
        // SAFETY: only `Level::detect` makes these levels, where the processor has what they are compiled for.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { by_eight::widen(from, to) },
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => unsafe { by_sixteen::widen(from, to) },
    }
}

/// Rounds to f16.
pub(super) fn narrow_f16(level: Level, from: &[f32], to: &mut [u16]) {
    match level.0 {
        Set::Baseline => narrow_f16_by_integers(level, from, to),
        // SAFETY: only `Level::detect` makes these levels, where the processor has what they are compiled for.
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => unsafe { by_eight::narrow(from, to) },
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => unsafe { by_sixteen::narrow(from, to) },
    }
}

/// The conversions that processors have, of so many numbers at a time.
#[cfg(target_arch = "x86_64")]
macro_rules! f16_by {
    ($name:ident, $features:literal, $n:literal, $load:ident $widen:ident $store:ident, $load_f32:ident $narrow:ident $store_f16:ident) => {
        mod $name {
            use std::arch::x86_64::*;

            #[target_feature(enable = $features)]
            pub(super) fn widen(from: &[u16], to: &mut [f32]) {
                let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<$n>(), to.as_chunks_mut::<$n>());
                for (from, to) in from.iter().zip(to) {
                    // SAFETY: both are as many numbers as are loaded and stored.
                    unsafe { $store(to.as_mut_ptr(), $widen($load(from.as_ptr().cast()))) };
                }
                for (from, to) in from_rest.iter().zip(to_rest) {
                    *to = super::of_f16(*from);
                }
            }

            #[target_feature(enable = $features)]
            pub(super) fn narrow(from: &[f32], to: &mut [u16]) {
                let ((from, from_rest), (to, to_rest)) = (from.as_chunks::<$n>(), to.as_chunks_mut::<$n>());
                for (from, to) in from.iter().zip(to) {
                    // SAFETY: both are as many numbers as are loaded and stored.
                    unsafe {
                        let short = $narrow::<_MM_FROUND_TO_NEAREST_INT>($load_f32(from.as_ptr()));
                        $store_f16(to.as_mut_ptr().cast(), short);
                    }
                }
                for (from, to) in from_rest.iter().zip(to_rest) {
                    *to = super::to_f16(*from);
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
f16_by!(by_eight, "avx2,f16c", 8, _mm_loadu_si128 _mm256_cvtph_ps _mm256_storeu_ps, _mm256_loadu_ps _mm256_cvtps_ph _mm_storeu_si128);
#[cfg(target_arch = "x86_64")]
f16_by!(by_sixteen, "avx2,avx512f,avx512vl", 16, _mm256_loadu_si256 _mm512_cvtph_ps _mm512_storeu_ps, _mm512_loadu_ps _mm512_cvtps_ph _mm256_storeu_si256);

/// Copies to memory past the cache, which has no use for what is larger than itself. Where that is not possible, it is a copy.
pub(super) fn stream(level: Level, from: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if level.0 != Set::Baseline {
        // SAFETY: only `Level::detect` makes other levels, where the processor has AVX2, and so AVX.
        return unsafe { stream_avx(from, to) };
    }
    let _ = level;
    to.copy_from_slice(from);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn stream_avx(from: &[u8], to: &mut [u8]) {
    use std::arch::x86_64::{__m256, _mm256_loadu_ps, _mm256_stream_ps};
    // SAFETY: any bytes are f32, and eight of them an __m256.
    let (before, lines, after) = unsafe { to.align_to_mut::<__m256>() };
    let (first, rest) = from.split_at(before.len());
    let (middle, last) = rest.split_at(32 * lines.len());
    before.copy_from_slice(first);
    for (to, from) in lines.iter_mut().zip(middle.chunks_exact(32)) {
        // SAFETY: both are 32 bytes, and `to` is aligned.
        unsafe { _mm256_stream_ps(std::ptr::from_mut(to).cast(), _mm256_loadu_ps(from.as_ptr().cast())) };
    }
    after.copy_from_slice(last);
}

/// Has the cache fetch what is soon read or written.
pub(super) fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86_64 has SSE.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    let _ = bytes;
}

/// Makes what was streamed visible to other threads.
pub(super) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86_64 has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    /// Both types, by every instruction set there is, in both directions, against `half`: NaN is quiet, and keeps its first bits.
    #[test]
    fn sixteen_bits_are_as_half_has_them() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        // Each f16 and bf16, the midpoints between, and what is next to them.
        let near = |v: f32| {
            [-0x1001, -0x1000, -0xfff, -1, 0, 1].map(|step| f32::from_bits(v.to_bits().wrapping_add_signed(step)))
        };
        let mut wide: Vec<f32> = all.iter().flat_map(|&bits| near(f16::from_bits(bits).to_f32())).collect();
        wide.extend(all.iter().flat_map(|&bits| {
            let v = u32::from(bits) << 16;
            [v, v | 0x7fff, v | 0x8000, v | 0x8001].map(f32::from_bits)
        }));
        let mut levels = vec![Level::baseline(), Level::detect()];
        #[cfg(target_arch = "x86_64")]
        levels.push(Level::detect().for_tiles());
        for level in levels {
            let mut from_f16 = vec![0.0; all.len()];
            widen_f16(level, &all, &mut from_f16);
            let mut from_bf16 = vec![0.0; all.len()];
            widen_bf16(level, &all, &mut from_bf16);
            for ((&bits, v), w) in all.iter().zip(from_f16).zip(from_bf16) {
                assert_eq!(v.to_bits(), f16::from_bits(bits).to_f32().to_bits(), "{bits:x}");
                assert_eq!(w.to_bits(), u32::from(bits) << 16, "{bits:x}");
            }
            let (mut to_f16, mut to_bf16) = (vec![0; wide.len()], vec![0; wide.len()]);
            narrow_f16(level, &wide, &mut to_f16);
            narrow_bf16(level, &wide, &mut to_bf16);
            for ((&v, f), b) in wide.iter().zip(to_f16).zip(to_bf16) {
                assert_eq!(f, f16::from_f32(v).to_bits(), "{v:e} {:x}", v.to_bits());
                assert_eq!(b, bf16::from_f32(v).to_bits(), "{v:e} {:x}", v.to_bits());
            }
            // What does not fill a register.
            for n in 0..40 {
                let mut rest = vec![0.0; n];
                widen_f16(level, &all[15_000..][..n], &mut rest);
                assert!(rest.iter().zip(&all[15_000..]).all(|(v, &bits)| *v == f16::from_bits(bits).to_f32()));
            }
        }
    }
}
