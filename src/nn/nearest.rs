//! What somebody may have meant by a name that there is not.

/// The names that differ least from the one that was asked for, nearest first, and no more than `most`.
pub fn nearest<'a>(asked: &str, names: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let mut near: Vec<_> = names.into_iter().map(|name| (distance(asked, name), name)).collect();
    near.sort();
    near.into_iter().take(most).map(|(_, name)| name).collect()
}

/// How many characters to insert, leave out or replace (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut before = i;
        let mut last = i + 1;
        let mut next = vec![last];
        for (&b, &above) in other.iter().zip(&row[1..]) {
            last = (before + usize::from(a != b)).min(above + 1).min(last + 1);
            before = above;
            next.push(last);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn by_what_differs() {
        for (one, other, want) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("ä", "a", 1)]
        {
            assert_eq!(distance(one, other), want, "{one} {other}");
        }
        let names = ["head.weight", "norm1.weight", "norm10.weight", "norm1.bias"];
        assert_eq!(nearest("norm.weight", names, 2), ["norm1.weight", "norm10.weight"]);
        assert_eq!(nearest("norm.weight", names, 9).len(), 4);
    }
}
