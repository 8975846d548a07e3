//! Numbers and tuples as Python prints them.

use std::fmt;

/// `True` or `False`.
pub(super) struct Bool(pub(super) bool);

impl fmt::Display for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "True" } else { "False" })
    }
}

/// The shortest digits that are this f32: `1e-05`, `0.001`, `1.0`.
pub(super) struct Float(pub(super) f32);

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:e}", self.0);
        let exponent =
            digits.split_once('e').and_then(|(mantissa, power)| Some((mantissa, power.parse::<i32>().ok()?)));
        match exponent {
            // Python's own limits.
            Some((mantissa, power)) if !(-4..16).contains(&power) => {
                let sign = if power < 0 { '-' } else { '+' };
                write!(f, "{mantissa}e{sign}{:02}", power.abs())
            }
            _ => write!(f, "{:?}", self.0),
        }
    }
}

/// A tuple of numbers: `(768,)`, `(4, 768)`.
pub(super) struct Tuple<'a, T>(pub(super) &'a [T]);

impl<T: ToString> fmt::Display for Tuple<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        write!(f, "({}{})", lengths.join(", "), if lengths.len() == 1 { "," } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bool, Float, Tuple};

    /// What `repr` gives in Python for the same number.
    #[test]
    fn as_python() {
        let floats = [
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e-12, "1e-12"),
            (1e-4, "0.0001"),
            (0.001, "0.001"),
            (0.1, "0.1"),
            (0.0, "0.0"),
            (1.0, "1.0"),
            (250.0, "250.0"),
            (1e15, "1000000000000000.0"),
            (1e20, "1e+20"),
        ];
        for (float, text) in floats {
            assert_eq!(Float(float).to_string(), text);
        }
        assert_eq!(Tuple(&[768]).to_string(), "(768,)");
        assert_eq!(Tuple(&[4, 768]).to_string(), "(4, 768)");
        assert_eq!(Bool(false).to_string(), "False");
    }
}
