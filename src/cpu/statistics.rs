//! The statistics of groups: sums in f32 around a number near the mean where that is exact enough, else in f64.

use std::ops::Range;

use super::parallel::Scratch;
use super::simd::{
    Center, Level, Measure, SEGMENT, Sums, column_sums, ordinary_centers, row_sums, row_sums_around, row_sums_beside,
};
use super::values::{Input, Reader, each_rows};
use crate::moments::{Spread, scale_of};
use crate::problem::{Centering, Problem, Scaling};
use crate::statistics::{Divisor, Statistics};

impl Statistics {
    /// All those that were saved.
    pub(super) fn unpack(saved: &[f32], into: &mut [Self]) {
        for (statistics, packed) in into.iter_mut().zip(saved.chunks_exact(4)) {
            let (scale, [shift, delta, factor]) = (scale_of(packed[0]), [packed[1], packed[2], packed[3]]);
            let count = f64::from(packed[0]) / scale.of_count;
            *statistics = Self { count, scale: scale.of_values as f32, shift, delta, factor };
        }
    }
}

/// How elements are added up, and what is divided by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) level: Level,
    measure: Measure,
    pub(super) divisor: Divisor,
}

/// Most parts that a row, or the rows of a column, are cut into. How many they are depends on their length alone.
pub(super) const PARTS: usize = 32;

/// Elements of a part of one row.
pub(super) fn part_of_row(length: usize) -> usize {
    length.div_ceil(PARTS).next_multiple_of(SEGMENT).max(2 * SEGMENT)
}

impl Rules {
    pub(super) fn new(problem: &Problem, level: Level) -> Self {
        let measure = match (problem.centering, problem.scaling) {
            (Centering::Mean, _) => Measure::Both,
            (Centering::None, Scaling::L1) => Measure::Magnitude,
            (Centering::None, _) => Measure::Square,
        };
        Self { level, measure, divisor: Divisor::new(problem) }
    }

    /// Of neighbouring elements.
    pub(super) fn row(&self, x: &mut Reader<'_>, elements: Range<usize>) -> Spread {
        let step = part_of_row(elements.len());
        let parts = elements.clone().step_by(step).map(|at| self.part(x.get(at..elements.end.min(at + step))));
        parts.reduce(Spread::merge).unwrap_or_default()
    }

    /// Of one part of them.
    pub(super) fn part(&self, x: &[f32]) -> Spread {
        self.of_sums(x, self.sums(x))
    }

    pub(super) fn sums(&self, x: &[f32]) -> Sums {
        let mut sums = [Sums::default()];
        row_sums(self.level, x, x.len(), self.measure, &mut sums);
        sums[0]
    }

    /// The sums of one row, while `y` of another is written, as `row_sums_beside` says.
    pub(super) fn sums_beside(&self, next: &[f32], of: [&[f32]; 3], y: &mut [f32], center: Center, floor: f32) -> Sums {
        row_sums_beside(self.level, next, self.measure, of, y, center, floor)
    }

    /// Of elements whose sums are known.
    pub(super) fn of_sums(&self, x: &[f32], sums: Sums) -> Spread {
        self.settled(x.len() as f64, sums).unwrap_or_else(|| self.again(x, sums))
    }

    /// The sums of neighbouring rows of `s` elements, none of which has several parts.
    pub(super) fn row_sums(&self, x: &[f32], s: usize, sums: &mut [Sums]) {
        row_sums(self.level, x, s, self.measure, sums);
    }

    /// What these rows are normalized by, if that is all there is to know and nothing is out of the ordinary.
    pub(super) fn ordinary(&self, s: usize, sums: &[Sums], centers: &mut [Center]) -> bool {
        let (centered, Divisor { scaling, eps, least }) = (self.measure == Measure::Both, self.divisor);
        scaling == Scaling::Variance && ordinary_centers(self.level, sums, s as f64, centered, eps, least, centers)
    }

    /// The statistics of these rows.
    pub(super) fn rows(&self, x: &[f32], s: usize, sums: &[Sums], out: &mut [Spread]) {
        for ((x, sums), out) in x.chunks(s).zip(sums).zip(out) {
            *out = self.of_sums(x, *sums);
        }
    }

    /// Of elements whose first sums are too coarse.
    #[cold]
    fn again(&self, x: &[f32], sums: Sums) -> Spread {
        let count = x.len() as f64;
        let better = self.better(count, sums).and_then(|mean| {
            let sums = row_sums_around(self.level, x, mean);
            self.settled(count, Sums { sums, shift: mean.into() })
        });
        better.unwrap_or_else(|| self.exact(x.iter().copied()))
    }

    /// Of each of the first columns of `x`, whose rows are `pitch` apart.
    pub(super) fn columns(&self, x: Input<'_>, pitch: usize, out: &mut [Spread], scratch: &Scratch) {
        let width = out.len();
        let count = x.len().div_ceil(pitch) as f64;
        let add = |x: Input<'_>, shift: &[f32], sum1: &mut [f64], sum2: &mut [f64]| {
            each_rows([x], (pitch, width), self.level, scratch, |[x], pitch| {
                column_sums(self.level, x, pitch, shift, self.measure, sum1, sum2);
            });
        };
        scratch.with(width * 3, |numbers| {
            let (sum1, rest) = numbers.split_at_mut(width);
            let (sum2, rest) = rest.split_at_mut(width);
            let shift: &mut [f32] = &mut bytemuck::cast_slice_mut(rest)[..width];
            if self.measure == Measure::Both {
                // Their first elements, and then the means of a few.
                x.part(0..width).load(self.level, shift);
                let head = x.part(0..x.len().min(HEAD_ROWS * pitch));
                add(head, shift, sum1, sum2);
                let rows = head.len().div_ceil(pitch) as f64;
                for (shift, sum) in shift.iter_mut().zip(&*sum1) {
                    *shift = (f64::from(*shift) + sum / rows) as f32;
                }
                sum1.fill(0.0);
                sum2.fill(0.0);
            }
            add(x, shift, sum1, sum2);
            let mut again = false;
            for (c, out) in out.iter_mut().enumerate() {
                let sums = Sums { sums: [sum1[c], sum2[c]], shift: shift[c].into() };
                // No count: to be taken again.
                *out = self.settled(count, sums).unwrap_or_default();
                if out.count == 0.0 {
                    again = true;
                    shift[c] = self.better(count, sums).unwrap_or(f32::NAN);
                }
            }
            if !again {
                return;
            }
            sum1.fill(0.0);
            sum2.fill(0.0);
            add(x, shift, sum1, sum2);
            for (c, out) in out.iter_mut().enumerate().filter(|(_, out)| out.count == 0.0) {
                let sums = Sums { sums: [sum1[c], sum2[c]], shift: shift[c].into() };
                let better = self.settled(count, sums).filter(|_| self.measure == Measure::Both);
                let column = (c..x.len()).step_by(pitch).map(|at| x.at(at));
                *out = better.unwrap_or_else(|| self.exact(column));
            }
        });
    }

    /// From sums of distances from `shift`, unless that is too far from the mean, or squares overflowed or may have vanished.
    #[inline]
    fn settled(&self, count: f64, Sums { sums: [sum1, sum2], shift }: Sums) -> Option<Spread> {
        if self.measure != Measure::Both {
            let sound = sum2 < f64::INFINITY && sum2 >= count * self.divisor.least;
            return sound.then_some(Spread { count, mean: 0.0, sum: sum2 });
        }
        let of_mean = sum1 * sum1 / count;
        let sum = sum2 - of_mean;
        let near = sum2 < f64::INFINITY && of_mean <= sum2 * 0.25;
        let sound = sum >= count * self.divisor.least || shift.abs() >= 1.0;
        (near && sound).then_some(Spread { count, mean: shift + sum1 / count, sum })
    }

    /// The mean that sums found, if it is one.
    fn better(&self, count: f64, Sums { sums: [sum1, sum2], shift }: Sums) -> Option<f32> {
        let mean = (shift + sum1 / count) as f32;
        (self.measure == Measure::Both && sum2 < f64::INFINITY && mean.is_finite()).then_some(mean)
    }

    fn exact(&self, x: impl Iterator<Item = f32> + Clone) -> Spread {
        let count = x.clone().count() as f64;
        let sum = match self.measure {
            Measure::Both => return Spread::of(x),
            Measure::Square => x.map(|v| f64::from(v) * f64::from(v)).sum(),
            Measure::Magnitude => x.map(|v| f64::from(v.abs())).sum(),
        };
        Spread { count, mean: 0.0, sum }
    }

    /// Of running ones, of which only the variance is divided by.
    pub(super) fn running(&self, mean: f32, var: f32) -> Statistics {
        let rstd = 1.0 / (f64::from(var) + self.divisor.eps).sqrt();
        Statistics { count: 1.0, scale: 1.0, shift: mean, delta: 0.0, factor: rstd as f32 }
    }
}

/// Rows whose mean the columns are centred by first.
const HEAD_ROWS: usize = 64;
