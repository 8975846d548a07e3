//! The accessors of tensors whose packs start at any element: of quads, and word by word where those do not do.

use super::tensor::{Role, TensorBinding};
use super::{Affine, Variant};

/// `x_begin(i)` goes to an element, `x_next(i)` reads the pack that starts there and goes on to the next: a load each.
const X_OF_QUADS: &str = "
var<private> x_ahead: Pack;
fn x_quad(q: u32) -> Pack { return X_data[min(q, arrayLength(&X_data) - 1u)]; }
fn x_begin(i: u32) { x_ahead = x_quad((params.X_start + i) >> 2u); }
fn x_next(i: u32) -> Pack {
    let at = params.X_start + i;
    let low = x_ahead;
    x_ahead = x_quad((at >> 2u) + 1u);
    return straddling(low, x_ahead, at);
}
";

const X_OF_WORDS: &str = "
fn x_begin(i: u32) { }
fn x_next(i: u32) -> Pack { return x_pack(params.x_start + i); }
";

/// Whole quads, and the first `count` words of a pack anywhere.
const Y: &str = "
fn y_store_quad(i: u32, v: Pack) { y_data[(params.y_start + i) >> 2u] = v; }
fn y_store_words(i: u32, v: Pack, count: u32) {
    let at = params.y_start + i;
    y_words[at] = v.x;
    if count > 1u { y_words[at + 1u] = v.y; }
    if count > 2u { y_words[at + 2u] = v.z; }
    if count > 3u { y_words[at + 3u] = v.w; }
}
";

/// Four words from anywhere. Those past the end are past the end of a row, and of no use.
const WORDS: &str = "
fn NAME_word(at: u32) -> f32 { return NAME_words[min(at, arrayLength(&NAME_words) - 1u)]; }
fn NAME_pack(at: u32) -> Pack {
    return Pack(NAME_word(at), NAME_word(at + 1u), NAME_word(at + 2u), NAME_word(at + 3u));
}
";

/// Gives the `tensors` of a ragged pass their words: `y` beside its quads, of which it shares some with other rows; weight
/// and bias that run along the row beside theirs, where there are quads and at most `most` bindings, or in their place; `x`
/// in place of its quads where it is read by words.
pub(crate) fn bind_words(
    tensors: &mut Vec<TensorBinding>,
    affine: Affine,
    x_of_words: bool,
    weights_of_quads: bool,
    most: usize,
) {
    let is_weight = |tensor: &TensorBinding| matches!(tensor.role, Role::Weight | Role::Bias);
    let weights = tensors.iter().filter(|tensor| is_weight(tensor)).count();
    let along = matches!(affine, Affine::Element | Affine::Shared);
    let beside = affine == Affine::Element && weights_of_quads && tensors.len() + 1 + weights <= most;
    for at in 0..tensors.len() {
        let words = TensorBinding { words: true, ..tensors[at] };
        if words.role == Role::Y || (is_weight(&words) && beside) {
            tensors.push(words);
        } else if (words.role == Role::X && x_of_words) || (is_weight(&words) && along) {
            tensors[at] = words;
        }
    }
}

impl Variant {
    fn binds(&self, role: Role, words: bool) -> bool {
        self.tensors.iter().any(|tensor| tensor.role == role && tensor.words == words)
    }
}

/// Whether weight and bias are read as quads, which the last of an odd row is not.
pub(super) fn constants(variant: &Variant) -> String {
    let quads =
        variant.affine == Affine::Element && [Role::Weight, Role::Bias].iter().any(|&role| variant.binds(role, false));
    format!("const WEIGHTS_BY_QUADS: bool = {quads};\n")
}

pub(super) fn accessors(variant: &Variant, role: Role) -> String {
    let name = role.name();
    let (of_quads, of_words) = (variant.binds(role, false), variant.binds(role, true));
    let mut text = if of_words && role != Role::Y { WORDS.replace("NAME", name) } else { String::new() };
    match role {
        Role::X if of_words => text.push_str(X_OF_WORDS),
        // In place, x is what y's binding holds before it is overwritten.
        Role::X => text.push_str(&X_OF_QUADS.replace('X', if of_quads { "x" } else { "y" })),
        Role::Y => text.push_str(Y),
        // Rows with a residual are never ragged.
        Role::Residual | Role::ResidualOut => {}
        _ => {
            let (plus, none) = if role == Role::Weight { ("params.weight_offset + ", "1.0") } else { ("", "0.0") };
            let words =
                if of_words { format!("{plus}{name}_pack(params.{name}_start + i)") } else { format!("Pack({none})") };
            let quads = if of_quads {
                format!("{plus}{name}_data[min((params.{name}_start + i) >> 2u, arrayLength(&{name}_data) - 1u)]")
            } else {
                words.clone()
            };
            text.push_str(&format!("fn {name}_load(i: u32) -> Pack {{ return {quads}; }}\n"));
            text.push_str(&format!("fn {name}_edge(i: u32) -> Pack {{ return {words}; }}\n"));
        }
    }
    text
}
