//! Where the elements of tensors lie that are parts of larger ones.

use crate::error::SpecError;
use crate::tensors::{Cell, Role};

/// Strides of the tensors that are as large as `x`: for each axis, how many elements further its next index lies. A tensor without
/// strides is row-major and contiguous. [`Norm::with_strides`](crate::Norm::with_strides) takes them.
///
/// So a norm reads and writes a slice of a larger tensor as it is: rows with a pitch, or the heads of a packed projection. What lies
/// between keeps its bits. A [`View`](crate::View) says where the first element is; slices of numbers start there and end with the last
/// element, what lies between included.
///
/// All tensors together may break contiguity at two places: where a row-major walk leaves a run of neighbours, and where it leaves a run
/// of such runs. `[tokens, heads, head_dim]` with any strides of tokens and heads is within that. Tensors that are read may have strides
/// of 0 or lie over themselves; those that are written may not. Steps of a multiple of four elements, in runs of as many, are read four at
/// a time.
///
/// ```
/// # fn main() -> Result<(), wgpu_norm::Error> {
/// use wgpu_norm::{Gpu, Inputs, Norm, RmsNorm, Strides};
///
/// // The first two of each row of three.
/// let norm = RmsNorm::new(&[2, 2], &[2])?.eps(0.0).with_strides(Strides::new().x(&[3, 1]));
/// let gpu = Gpu::new_blocking()?;
/// let out = gpu.run_blocking(&norm, Inputs::new(&[1.0, 1.0, 99.0, -3.0, 3.0][..]))?;
/// for (y, want) in out.y.iter().zip([1.0, 1.0, -1.0, 1.0]) {
///     assert!((y - want).abs() < 1e-6);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Strides {
    of: [Option<Vec<usize>>; LARGE.len()],
}

/// The tensors of the size of `x`.
pub(crate) const LARGE: [Role; 11] = [
    Role::X,
    Role::Y,
    Role::Residual,
    Role::ResidualOut,
    Role::GradOutput,
    Role::GradInput,
    Role::GradResidual,
    Role::Skip,
    Role::GradSkip,
    Role::Branch,
    Role::GradBranch,
];

fn number(role: Role) -> Option<usize> {
    LARGE.iter().position(|&large| large == role)
}

impl Strides {
    /// Every tensor contiguous.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for every tensor, as where all are that part of a larger one.
    #[must_use]
    pub fn all(strides: &[usize]) -> Self {
        Self { of: std::array::from_fn(|_| Some(strides.to_vec())) }
    }

    /// Of `x`, in elements.
    #[must_use]
    pub fn x(self, strides: &[usize]) -> Self {
        self.with(Role::X, strides)
    }

    /// Of `y`, in elements.
    #[must_use]
    pub fn y(self, strides: &[usize]) -> Self {
        self.with(Role::Y, strides)
    }

    /// Of the residual, in elements.
    #[must_use]
    pub fn residual(self, strides: &[usize]) -> Self {
        self.with(Role::Residual, strides)
    }

    /// Of what is normalized, `x + residual`, where it is stored, in elements.
    #[must_use]
    pub fn residual_out(self, strides: &[usize]) -> Self {
        self.with(Role::ResidualOut, strides)
    }

    /// Of the gradient of `y`, in elements.
    #[must_use]
    pub fn grad_output(self, strides: &[usize]) -> Self {
        self.with(Role::GradOutput, strides)
    }

    /// Of the gradient of `x`, in elements.
    #[must_use]
    pub fn grad_input(self, strides: &[usize]) -> Self {
        self.with(Role::GradInput, strides)
    }

    /// Of the gradient that is added to that of `x`, in elements.
    #[must_use]
    pub fn grad_residual(self, strides: &[usize]) -> Self {
        self.with(Role::GradResidual, strides)
    }

    /// Of the tensor that is added after the norm, in elements.
    #[must_use]
    pub fn skip(self, strides: &[usize]) -> Self {
        self.with(Role::Skip, strides)
    }

    /// Of its gradient, in elements.
    #[must_use]
    pub fn grad_skip(self, strides: &[usize]) -> Self {
        self.with(Role::GradSkip, strides)
    }

    /// Of what a gate multiplied, in a backward pass, in elements.
    #[must_use]
    pub fn branch(self, strides: &[usize]) -> Self {
        self.with(Role::Branch, strides)
    }

    /// Of its gradient, in elements.
    #[must_use]
    pub fn grad_branch(self, strides: &[usize]) -> Self {
        self.with(Role::GradBranch, strides)
    }

    fn with(mut self, role: Role, strides: &[usize]) -> Self {
        if let Some(slot) = number(role).and_then(|number| self.of.get_mut(number)) {
            *slot = Some(strides.to_vec());
        }
        self
    }
}

/// `length` elements, or places, from `first` on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) length: u64,
}

/// Where elements lie, by their number in row-major order: `pieces` pieces of `piece` neighbours are an outer step apart from the next
/// so many, and one piece an inner step from the next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Placement {
    pub(crate) piece: u64,
    pub(crate) pieces: u64,
    elements: u64,
    /// `[outer, inner]` of each large tensor.
    steps: [[u64; 2]; LARGE.len()],
    given: Strides,
}

/// Shaders place elements with u32.
const MOST_PLACES: u64 = 1 << 32;

impl Placement {
    /// All of them contiguous.
    pub(crate) fn contiguous(elements: u64) -> Self {
        let piece = elements.max(1);
        Self { piece, pieces: 1, elements, steps: [[piece, piece]; LARGE.len()], given: Strides::new() }
    }

    /// Of tensors of `shape`, of which those for which `written` holds may not lie over themselves.
    pub(crate) fn new(
        norm: &'static str,
        shape: &[usize],
        strides: &Strides,
        written: impl Fn(Role) -> bool,
    ) -> Result<Self, SpecError> {
        let elements = crate::problem::count(shape);
        let wrong = |role: Role, given: &[usize], must| {
            let (tensor, strides, shape) = (role.name(), given.to_vec(), shape.to_vec());
            SpecError::Strides { norm, tensor, strides, shape, must }
        };
        let given = || LARGE.iter().zip(&strides.of).filter_map(|(&role, of)| Some((role, of.as_deref()?)));
        for (role, of) in given() {
            if of.len() != shape.len() {
                return Err(wrong(role, of, "one for each axis"));
            }
            // Of axes of one element no step is taken.
            let steps = shape.iter().zip(of).filter(|&(&length, _)| length > 1);
            let last = steps
                .map(|(&n, &step)| (n as u64 - 1).checked_mul(step as u64))
                .try_fold(0u64, |sum, step| sum.checked_add(step?));
            if last.is_none_or(|last| last >= MOST_PLACES) && elements > 0 {
                return Err(wrong(role, of, "such that the last element is within 2^32 of the first"));
            }
        }
        if elements == 0 {
            return Ok(Self::contiguous(0));
        }
        // Axes of several elements, the last one first: their length, and how many elements they step over.
        let mut inside = 1u64;
        let axes: Vec<(usize, u64)> = (0..shape.len())
            .rev()
            .filter(|&axis| shape[axis] > 1)
            .map(|axis| {
                inside *= shape[axis] as u64;
                (axis, inside / shape[axis] as u64)
            })
            .collect();
        // Where a walk in row-major order leaves a run of neighbours, or of runs that are equally far apart.
        let mut breaks: Vec<u64> = Vec::new();
        for (role, of) in given() {
            let before = std::iter::once(1).chain(axes.iter().map(|&(axis, _)| shape[axis] as u64 * of[axis] as u64));
            for (&(axis, inside), follows) in axes.iter().zip(before) {
                if of[axis] as u64 != follows && !breaks.contains(&inside) {
                    breaks.push(inside);
                }
            }
            if breaks.len() > 2 {
                return Err(wrong(
                    role,
                    of,
                    "such that all tensors together leave their runs of neighbours at two places at most",
                ));
            }
        }
        breaks.sort_unstable();
        let &[piece, outer] = match breaks[..] {
            [] => return Ok(Self::contiguous(elements)),
            [piece] => &[piece, piece],
            [piece, outer, ..] => &[piece, outer],
        };
        let step = |of: &Option<Vec<usize>>, inside: u64| {
            let axis = axes.iter().find(|&&(_, within)| within == inside);
            match (of, axis) {
                (Some(of), Some(&(axis, _))) => of[axis] as u64,
                _ => inside,
            }
        };
        let steps = std::array::from_fn(|number| [step(&strides.of[number], outer), step(&strides.of[number], piece)]);
        let placement = Self { piece, pieces: outer / piece, elements, steps, given: strides.clone() };
        for (role, of) in given().filter(|&(role, _)| written(role)) {
            if placement.folds(role) {
                return Err(wrong(role, of, "such that no two elements lie in one place, as it is written"));
            }
        }
        Ok(placement)
    }

    /// Strides that no kernel can go by.
    pub(crate) fn refused(&self, norm: &'static str, role: Role, shape: &[usize], must: &'static str) -> SpecError {
        let given = number(role).and_then(|number| self.given.of.get(number)).cloned().flatten();
        SpecError::Strides {
            norm,
            tensor: role.name(),
            strides: given.unwrap_or_default(),
            shape: shape.to_vec(),
            must,
        }
    }

    /// Whether every tensor is contiguous.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.piece >= self.elements
    }

    /// From so many pieces to the next, and from one piece to the next.
    pub(crate) fn steps(&self, role: Role) -> [u64; 2] {
        number(role).and_then(|number| self.steps.get(number)).copied().unwrap_or_default()
    }

    /// Where element number `i` lies, from the first on.
    pub(crate) fn place(&self, role: Role, i: u64) -> u64 {
        let [outer, inner] = self.steps(role);
        let (n, within) = (i / self.piece, i % self.piece);
        n / self.pieces * outer + n % self.pieces * inner + within
    }

    /// The places that some elements lie in, from the first place to the last.
    pub(crate) fn span(&self, role: Role, elements: Span) -> Span {
        let Span { first, length } = elements;
        if self.is_contiguous() || length == 0 {
            return elements;
        }
        // Steps need not go with the order of elements: where pieces and runs of pieces begin and end is what can be first or last.
        let among = first..first + length;
        let ends = [1, self.piece, self.piece * self.pieces].into_iter().flat_map(|unit| {
            let (next, back) = (first.next_multiple_of(unit), (first + length - 1) / unit * unit);
            [next, back, next.wrapping_sub(1), back.wrapping_sub(1)]
        });
        let places = ends.filter(|end| among.contains(end)).map(|end| self.place(role, end));
        let (least, most) = places.fold((u64::MAX, 0), |(least, most), place| (least.min(place), most.max(place)));
        Span { first: least, length: most + 1 - least }
    }

    /// The length of the slice that holds a tensor.
    pub(crate) fn extent(&self, role: Role) -> u64 {
        self.span(role, Span { first: 0, length: self.elements }).length
    }

    /// Elements of a tensor that are neighbours in memory wherever a row-major walk goes on among them.
    pub(crate) fn own_piece(&self, role: Role) -> u64 {
        match self.steps(role) {
            [outer, inner] if inner == self.piece && outer == self.piece * self.pieces => self.elements,
            [_, inner] if inner == self.piece => self.piece * self.pieces,
            _ => self.piece,
        }
    }

    /// Whether elements lie in their order.
    #[cfg(feature = "cpu")]
    pub(crate) fn ascends(&self, role: Role) -> bool {
        let [outer, inner] = self.steps(role);
        let outers = self.elements.div_ceil(self.piece * self.pieces);
        (self.pieces <= 1 || inner >= self.piece) && (outers <= 1 || outer >= (self.pieces - 1) * inner + self.piece)
    }

    /// Whether two elements lie in one place.
    fn folds(&self, role: Role) -> bool {
        let [outer, inner] = self.steps(role);
        let (piece, pieces, outers) = (self.piece, self.pieces, self.elements.div_ceil(self.piece * self.pieces));
        let apart = |[small, least, times]: [u64; 3], [large, often]: [u64; 2]| {
            (times <= 1 || small >= least) && (often <= 1 || large >= (times - 1) * small + least)
        };
        !(apart([inner, piece, pieces], [outer, outers]) || apart([outer, piece, outers], [inner, pieces]))
    }

    /// Whether some word of two 16-bit elements may be in two pieces of a tensor, where its first element has an even index, or else an odd one.
    pub(crate) fn shares_words(&self, role: Role, even: bool) -> bool {
        let own = self.own_piece(role);
        let [outer, inner] = self.steps(role);
        let outers = self.elements.div_ceil((self.piece * self.pieces).max(1));
        let inners = if own == self.piece { self.pieces } else { 1 };
        let odd = |step: u64, times: u64| times > 1 && step % 2 == 1;
        // Where all pieces begin and end between two words, it does not matter which of them touch.
        if own >= self.elements || (even && own.is_multiple_of(2) && !odd(outer, outers) && !odd(inner, inners)) {
            return false;
        }
        // Whether one piece begins where another ends: a step is taken for each of the fewer, and the rest is one of the others.
        let [(few, step), (many, long)] =
            if outers < inners { [(outers, outer), (inners, inner)] } else { [(inners, inner), (outers, outer)] };
        let [few, step, many, long] = [few, step, many, long].map(i128::from);
        (1 - few..few)
            .map(|n| i128::from(own) - n * step)
            .any(|rest| if many > 1 && long > 0 { rest % long == 0 && (rest / long).abs() < many } else { rest == 0 })
    }

    /// Whether every step leads from one multiple of `width` elements to another, for these tensors.
    pub(crate) fn is_aligned(&self, width: u64) -> bool {
        self.is_contiguous()
            || (self.piece.is_multiple_of(width) && self.steps.iter().flatten().all(|step| step.is_multiple_of(width)))
    }

    /// How many bytes of elements may go into one window, where a binding holds so many bytes: fewer where tensors with what lies between
    /// are larger.
    pub(crate) fn most_bytes(&self, binding: u64) -> Option<u64> {
        let extent = LARGE.iter().map(|&role| self.extent(role)).max().unwrap_or_default();
        let bytes = |elements: u64| elements * Cell::Element.bytes();
        let stretch = extent.div_ceil(self.elements.max(1)).max(1);
        (bytes(extent) > binding && !self.is_contiguous())
            .then(|| (binding / stretch).saturating_sub(bytes(self.piece * self.pieces)))
    }
}
