//! What was used lately.

use std::collections::VecDeque;

/// The last few entries that were used; the one that was not for longest makes room for a new one. Few enough to be looked
/// through one by one, with keys that nobody has to build to compare.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: VecDeque<(K, V)>,
    room: usize,
}

impl<K, V> Recent<K, V> {
    pub(super) fn new(room: usize) -> Self {
        Self { entries: VecDeque::new(), room }
    }

    pub(super) fn get(&mut self, is: impl Fn(&K) -> bool) -> Option<&mut V> {
        let entry = self.take(is)?;
        self.entries.push_front(entry);
        self.entries.front_mut().map(|(_, value)| value)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        self.entries.push_front((key, value));
        self.entries.truncate(self.room);
    }

    pub(super) fn take(&mut self, is: impl Fn(&K) -> bool) -> Option<(K, V)> {
        let at = self.entries.iter().position(|(key, _)| is(key))?;
        self.entries.remove(at)
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
        recent.put(1, "one");
        recent.put(2, "two");
        assert_eq!(recent.get(|&key| key == 1), Some(&mut "one"));
        recent.put(3, "three");
        assert_eq!(recent.get(|&key| key == 2), None);
        assert_eq!(recent.get(|&key| key == 1), Some(&mut "one"));
        assert_eq!(recent.len(), 2);
        recent.clear();
        assert_eq!(recent.len(), 0);
    }
}
