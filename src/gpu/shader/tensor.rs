//! The bindings of a shader, and the accessors its text knows tensors by.
//!
//! A kernel calls `y_store(i, v)` and so on, and never names a binding: in place, a shared buffer, an absent tensor or another
//! storage type are decided here. Stores of rows are between `open_words` and `close_words`. `put` stores two neighbours, or one of them, that may share a word. Of a tensor that is not bound, `load` gives 0 (a weight, a scale or a gate:
//! 1) and `store` does nothing. `spread` loads the numbers of a modulation that a pack has.

use super::fragment::Use;
use super::{Before, Modulating, Spread, Variant, Width};
use crate::tensors::{Cell, Role};

/// How a tensor is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Access {
    Read,
    /// Written, or in one buffer with a tensor that is: wgpu takes no buffer as both in one dispatch.
    ReadWrite,
}

/// One storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TensorBinding {
    pub(crate) role: Role,
    pub(crate) access: Access,
}

impl Variant {
    fn is_bound(&self, role: Role) -> bool {
        self.tensors.iter().any(|tensor| tensor.role == self.within(role))
    }

    /// Whether scale and shift are in weight and bias.
    fn folds(&self) -> bool {
        self.choice.modulation == Modulating::Folded
    }

    /// How the numbers of a pack are loaded of a tensor of a modulation, unless they are in weight and bias.
    fn spread(&self, role: Role) -> Option<Spread> {
        match (role, self.choice.modulation, self.choice.before) {
            (Role::Scale | Role::Shift, Modulating::Apart(spread), _) => Some(spread),
            (Role::Gate | Role::Embedding, _, Before::Gate(spread)) => Some(spread),
            _ => None,
        }
    }

    /// The tensor in whose binding it lies: itself, unless devices have too few.
    fn within(&self, role: Role) -> Role {
        self.within.iter().find(|&&(of, _)| of == role).map_or(role, |&(_, by)| by)
    }

    /// The tensor whose binding is in the place of `role`.
    fn binding_of(&self, role: Role) -> Role {
        self.through.iter().find(|&&(of, _)| of == role).map_or(role, |&(_, by)| by)
    }

    /// Whether one index is a pack rather than a number.
    fn is_packed(&self, role: Role) -> bool {
        match role.cell() {
            Cell::Element => true,
            Cell::Parameter => match role {
                Role::Weight | Role::Bias => self.choice.packs_parameters(),
                Role::Scale | Role::Shift if self.folds() => self.choice.packs_parameters(),
                _ => self.spread(role) == Some(Spread::Packs),
            },
            _ => false,
        }
    }

    /// Whether its numbers are of 16 bits.
    fn is_half(&self, role: Role) -> bool {
        self.choice.halves.of(role)
    }

    /// What a binding is an array of.
    fn stored_type(&self, role: Role) -> &'static str {
        match self.choice.width {
            _ if !self.is_half(role) => self.value_type(role),
            Width::Quad if self.is_packed(role) => "vec2<u32>",
            _ => "u32",
        }
    }

    /// The type of what kernels load and store.
    fn value_type(&self, role: Role) -> &'static str {
        match role.cell() {
            _ if self.is_packed(role) => "Pack",
            Cell::Element | Cell::Parameter | Cell::Number => "f32",
            Cell::Count => "u32",
            Cell::Pair => "vec2<f32>",
            Cell::Record => "vec4<f32>",
        }
    }

    /// Where element `i` is: tensors of the user start somewhere in their binding, and partials may be those of a few groups;
    /// other scratch starts at 0.
    fn place(&self, role: Role) -> String {
        let name = role.shader_name();
        let at = if role.is_large() { format!("{name}_at(i)") } else { "i".to_owned() };
        match self.choice.width {
            _ if !role.is_given() && role != Role::Partials => at,
            Width::Quad if self.is_packed(role) => format!("(params.{name}_start + {at}) >> 2u"),
            _ => format!("params.{name}_start + {at}"),
        }
    }

    fn load(&self, role: Role) -> String {
        let alone = self.load_alone(role);
        match role {
            Role::Weight if self.folds() => format!("({alone}) * scale_load(sample_located + i)"),
            Role::Bias if self.folds() => {
                format!("{alone} * scale_load(sample_located + i) + shift_load(sample_located + i)")
            }
            _ => alone,
        }
    }

    fn load_alone(&self, role: Role) -> String {
        let data = self.binding_of(role);
        let ty = self.value_type(role);
        let (name, place) = (self.within(data).shader_name(), self.place(data));
        let number = match self.stored_type(data) {
            "u32" if self.is_half(data) => format!("half_at({name}_data[({place}) >> 1u], {place})"),
            "vec2<u32>" => format!("quad_of_halves({name}_data[{place}])"),
            _ => format!("{name}_data[{place}]"),
        };
        match role {
            Role::Weight if self.is_bound(data) => format!("params.weight_offset + {number}"),
            Role::Scale if self.is_bound(data) => format!("params.scale_offset + {number}"),
            Role::Weight | Role::Scale | Role::Gate if !self.is_bound(data) => format!("{ty}(1.0)"),
            _ if !self.is_bound(data) => format!("{ty}(0)"),
            _ => number,
        }
    }

    fn spread_text(&self, role: Role) -> String {
        let name = role.shader_name();
        let body = match self.spread(role) {
            _ if !self.is_bound(role) => format!("return Pack({name}_load(0u));"),
            Some(Spread::Packs) => format!("return {name}_load(modulation_place(at));"),
            _ => format!(
                "var v = Pack({name}_load(number_at(at, 0u))); \
                 for (var j = 1u; j < numbers_of_pack(); j++) {{ pack_put(&v, j, {name}_load(number_at(at, j))); }} return v;"
            ),
        };
        format!("fn {name}_spread(at: u32) -> Pack {{ {body} }}\n")
    }

    fn store(&self, role: Role) -> String {
        let data = self.binding_of(role);
        let (name, place) = (self.within(data).shader_name(), self.place(data));
        match self.stored_type(data) {
            _ if !self.is_bound(data) => String::new(),
            "vec2<u32>" => format!("{name}_data[{place}] = halves_of_quad(v);"),
            "u32" if self.is_half(data) => format!(
                "let at = {place}; let half = halves_of_pair(vec2<f32>(v)); \
                 if (at & 1u) == 0u {{ {name}_lower = half; {name}_open = i; }} \
                 else {{ {name}_data[at >> 1u] = extractBits({name}_lower, 0u, 16u) | (half & 0xffff0000u); }}"
            ),
            _ => format!("{name}_data[{place}] = v;"),
        }
    }

    fn put(&self, role: Role) -> String {
        let data = self.binding_of(role);
        let (name, place) = (data.shader_name(), self.place(data));
        if !self.is_bound(data) {
            return String::new();
        }
        if self.is_half(data) {
            // A word past the end must not be touched: where indices are clamped, it is the last one, which another lane writes.
            let word = format!("{name}_data[({place}) >> 1u]");
            // Of two that are not both ours the other may be in another piece.
            return format!(
                "let i = select(j + 1u, j, lower); if lower || upper {{ {word} = word_with({word}, v, lower, upper); }}"
            );
        }
        format!(
            "if lower {{ let i = j; {name}_data[{place}] = v.x; }} if upper {{ let i = j + 1u; {name}_data[{place}] = v.y; }}"
        )
    }
}

/// Where elements lie of tensors that may be parts of larger ones, and `locate`, by which a lane moves on to another piece.
fn places(variant: &Variant) -> String {
    let bound = variant.tensors.iter().map(|tensor| tensor.role).filter(|role| role.is_large());
    let names: Vec<_> = bound.map(Role::shader_name).collect();
    let steps = |name: &str| format!("params.{name}_outer, params.{name}_inner");
    let mut text = String::new();
    let mut located = String::new();
    for name in names {
        let steps = steps(name);
        text.push_str(&format!(
            "var<private> {name}_located: u32;\nfn {name}_at(i: u32) -> u32 {{ return placed(i, {name}_located, {steps}); }}\n"
        ));
        located.push_str(&format!(" {name}_located = moved_piece(piece, {steps});"));
    }
    if located.is_empty() {
        return text;
    }
    let folded = if variant.folds() { " locate_sample(i);" } else { "" };
    let apart = if variant.choice.uses_file("shared/modulation") { " locate_modulation(i);" } else { "" };
    let tensors = format!("if placed_by == BY_PIECE {{ let piece = i / params.piece;{located} }}");
    text + &format!("fn locate(i: u32) {{ {tensors}{folded}{apart} }}\n")
}

/// By rows, how a lane stores elements of 16 bits one by one, in the order of memory: it keeps the lower half of a word until it has the upper
/// one. `open_words` begins with element `i`, whose word may have the last element of others; `close_words` stores the last one, whose word may have
/// their first.
fn words(variant: &Variant) -> String {
    let stored = variant.choice.uses().into_iter().filter(|&(role, how)| how == Use::Store && variant.is_bound(role));
    let halves = stored.filter(|&(role, _)| variant.stored_type(role) == "u32" && variant.is_half(role));
    let (mut text, mut open, mut close) = (String::new(), String::new(), String::new());
    for (role, _) in halves {
        let (name, place) = (role.shader_name(), variant.place(role));
        let word = format!("{name}_data[({place}) >> 1u]");
        text.push_str(&format!("var<private> {name}_lower: u32;\nvar<private> {name}_open: u32;\n"));
        open.push_str(&format!(" {name}_open = ~i; if lead > 0u && lane_in_tile() == 0u {{ {name}_lower = {word}; }}"));
        close.push_str(&format!(" if {name}_open == i {{ {word} = insertBits({word}, {name}_lower, 0u, 16u); }}"));
    }
    text + &format!("fn open_words(i: u32) {{{open} }}\nfn close_words(i: u32) {{{close} }}\n")
}

/// The bindings of a variant, and the accessors that its text calls.
pub(super) fn declarations(variant: &Variant) -> String {
    let mut text = String::new();
    for (number, &TensorBinding { role, access }) in variant.tensors.iter().enumerate() {
        let access = match access {
            Access::Read => "read",
            Access::ReadWrite => "read_write",
        };
        let (binding, name, of) = (number + 1, role.shader_name(), variant.stored_type(role));
        text.push_str(&format!("@group(0) @binding({binding}) var<storage, {access}> {name}_data: array<{of}>;\n"));
    }
    text.push_str(&places(variant));
    if variant.choice.kernel.by_rows() {
        text.push_str(&words(variant));
    }
    let folded = [(Role::Scale, Use::Load), (Role::Shift, Use::Load)].into_iter().filter(|_| variant.folds());
    for (role, how) in variant.choice.uses().into_iter().chain(folded) {
        let (name, ty) = (role.shader_name(), variant.value_type(role));
        let load = |role: Role| format!("fn {name}_load(i: u32) -> {ty} {{ return {}; }}\n", variant.load(role));
        text.push_str(&match how {
            Use::Load => load(role),
            Use::Spread => load(role) + &variant.spread_text(role),
            Use::Store => format!("fn {name}_store(i: u32, v: {ty}) {{ {} }}\n", variant.store(role)),
            Use::Put => {
                format!("fn {name}_put(j: u32, v: vec2<f32>, lower: bool, upper: bool) {{ {} }}\n", variant.put(role))
            }
        });
    }
    text
}
