//! How many entries the next read asks for. Pure.
//!
//! Redis sends all that was asked for in one reply, of whatever size, and a reply that does not arrive in time is lost: its
//! entries are pending for us and have to be found again. So a read asks for no more bytes than arrive in a moment, judged by
//! the largest entries of late, begins with few, and with one after a reply that was lost.

/// What the first read asks for.
const FIRST: usize = 8;
/// Bytes that one reply should not exceed.
const READ_BYTES: usize = 4 * 1024 * 1024;
/// Far above what any read asks for.
const LIMIT_MAX: usize = 4_096;

/// What is known of the entries' sizes and of how well they arrive.
#[derive(Debug)]
pub(crate) struct Appetite {
    limit: usize,
    /// Bytes of the largest entry of late; what is long ago counts less and less.
    largest: usize,
}

impl Default for Appetite {
    /// Nothing is known yet.
    fn default() -> Self {
        Self { limit: FIRST, largest: 0 }
    }
}

impl Appetite {
    /// How many to ask for, with room for so many entries and so many bytes. At least one where there is room.
    pub(crate) fn count(&self, room: usize, bytes: usize) -> usize {
        let by_bytes = READ_BYTES.min(bytes) / self.largest.max(1);
        room.min(self.limit).min(by_bytes.max(1))
    }

    /// A read that had asked for so many has brought entries of these sizes.
    pub(crate) fn served(&mut self, asked: usize, sizes: impl Iterator<Item = usize>) {
        let mut count = 0;
        self.largest -= self.largest / 8;
        for size in sizes {
            count += 1;
            self.largest = self.largest.max(size);
        }
        if count >= asked {
            self.limit = (self.limit * 2).min(LIMIT_MAX);
        }
    }

    /// A reply was lost.
    pub(crate) fn starved(&mut self) {
        self.limit = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    #[test]
    fn reads_of_small_entries_soon_ask_for_all_there_is_room_for() {
        let mut appetite = Appetite::default();
        let mut asked = Vec::new();
        for _ in 0..7 {
            let count = appetite.count(64, 64 * MIB);
            asked.push(count);
            appetite.served(count, std::iter::repeat_n(100, count));
        }
        assert_eq!(asked, [8, 16, 32, 64, 64, 64, 64]);
    }

    #[test]
    fn large_entries_are_read_one_by_one_and_forgotten_again() {
        let mut appetite = Appetite::default();
        for _ in 0..6 {
            appetite.served(1, [100].into_iter());
        }
        appetite.served(64, [MIB, 8 * MIB].into_iter());
        assert_eq!(appetite.count(64, 64 * MIB), 1);
        let reads = (0..).take_while(|_| {
            appetite.served(64, [100].into_iter());
            appetite.count(64, 64 * MIB) < 64
        });
        assert!((20..80).contains(&reads.count()));
    }

    #[test]
    fn a_lost_reply_begins_with_one_again_and_the_room_is_kept_to() {
        let mut appetite = Appetite::default();
        for _ in 0..9 {
            appetite.served(1, [MIB / 4].into_iter());
        }
        assert_eq!((appetite.count(64, 64 * MIB), appetite.count(64, MIB), appetite.count(3, 64 * MIB)), (16, 4, 3));
        assert_eq!((appetite.count(64, 1), appetite.count(0, 64 * MIB)), (1, 0));
        appetite.starved();
        assert_eq!(appetite.count(64, 64 * MIB), 1);
    }
}
