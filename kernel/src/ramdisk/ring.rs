//! A bounded queue. Pure; its user guards it by a lock.

/// A queue of at most `N` items, first in, first out.
#[derive(Debug)]
pub struct Ring<T, const N: usize> {
    items: [Option<T>; N],
    first: usize,
    len: usize,
}

impl<T, const N: usize> Ring<T, N> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { items: [const { None }; N], first: 0, len: 0 }
    }

    /// Appends `item`.
    ///
    /// # Errors
    /// Returns `item` if the queue is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.len == N {
            return Err(item);
        }
        self.items[(self.first + self.len) % N] = Some(item);
        self.len += 1;
        Ok(())
    }

    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items[self.first].take()?;
        self.first = (self.first + 1) % N;
        self.len -= 1;
        Some(item)
    }

    /// Items in the queue.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the queue is full.
    pub fn is_full(&self) -> bool {
        self.len == N
    }

    /// Whether more than seven eighths are used: the device is congested.
    pub fn is_congested(&self) -> bool {
        self.len > N - N / 8
    }
}

impl<T, const N: usize> Default for Ring<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SWAP-06: requests are served in order, across many wrap-arounds.
    #[test]
    fn items_come_out_in_order_across_the_wrap() {
        let mut ring = Ring::<u32, 3>::new();
        let mut next = 0;
        for n in 0..10 {
            ring.push(n).unwrap();
            if ring.is_full() {
                assert_eq!(ring.push(99), Err(99));
                assert_eq!(ring.pop(), Some(next));
                next += 1;
            }
        }
        let rest: Vec<u32> = std::iter::from_fn(|| ring.pop()).collect();
        assert_eq!(rest, (next..10).collect::<Vec<_>>());
        assert!(ring.is_empty());
    }

    /// SWAP-06: congestion begins above seven eighths.
    #[test]
    fn congestion_begins_above_seven_eighths() {
        let mut ring = Ring::<u32, 16>::new();
        for n in 1..=16 {
            ring.push(n).unwrap();
            assert_eq!(ring.is_congested(), n > 14, "{n} of 16");
        }
    }
}
