//! Numbers as people read them.

/// A time in three digits and a unit: `45.7 ms`.
#[must_use]
pub fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "us"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    format!("{} {unit}", significant(value))
}

/// About three digits.
#[must_use]
pub fn significant(value: f64) -> String {
    let digits = match value {
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits() {
        for (seconds, text) in [(1.2345e-6, "1.23 us"), (4.5678e-2, "45.7 ms"), (0.9876, "988 ms"), (12.345, "12.3 s")]
        {
            assert_eq!(time(seconds), text);
        }
    }
}
