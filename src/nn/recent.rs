//! What was used lately.

use std::collections::VecDeque;

/// The last few entries that were used; the one that was not for longest makes room for a new one. Few enough to be looked
/// through one by one, by what nobody has to build to compare.
#[derive(Debug)]
pub(super) struct Recent<T> {
    entries: VecDeque<T>,
    room: usize,
}

impl<T: Clone> Recent<T> {
    pub(super) fn new(room: usize) -> Self {
        Self { entries: VecDeque::new(), room }
    }

    pub(super) fn get(&mut self, is: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.entries.iter().position(is)?;
        let entry = self.entries.remove(at)?;
        self.entries.push_front(entry.clone());
        Some(entry)
    }

    pub(super) fn put(&mut self, entry: T) {
        self.entries.push_front(entry);
        self.entries.truncate(self.room);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_longest_unused_goes_first() {
        let mut recent = Recent::new(2);
        recent.put("one");
        recent.put("two");
        assert_eq!(recent.get(|&known| known == "one"), Some("one"));
        recent.put("three");
        assert_eq!(recent.get(|&known| known == "two"), None);
        assert_eq!(recent.get(|&known| known == "one"), Some("one"));
        assert_eq!(recent.len(), 2);
        recent.clear();
        assert_eq!(recent.len(), 0);
    }
}
